"""Bugs in what an export reads, and in the file that it writes."""

from mutants.planting import Mutant

FILE, SEARCH = "tests/export/test_export_file.py", "tests/export/test_export_search.py"
OUTPUT, READER, WALK = "shipper/export/output.py", "shipper/sources/auth0_search.py", "shipper/sources/walk.py"
RESULTS = "shipper/sources/auth0_results.py"

IN_EXPORT = (
    Mutant(
        "a torn end of an export left in its file",
        OUTPUT,
        "            os.ftruncate(self._descriptor, self.progress.size)\n",
        "",
        (f"{FILE}::test_a_file_that_was_torn_behind_the_last_whole_state_is_cut_back",),
    ),
    Mutant(
        "an export's place moved without what was written before it",
        OUTPUT,
        "size=self.progress.size + len(data),",
        "size=self.progress.size,",
        (f"{FILE}::test_interrupted_at_any_request_the_same_command_goes_on_with_nothing_missing_or_twice",),
    ),
    Mutant(
        "a file that is there written over by an export",
        OUTPUT,
        "    if progress is None and size:\n",
        "    if progress is None and size < 0:\n",
        (f"{FILE}::test_a_file_that_is_there_is_never_written_over",),
    ),
    Mutant(
        "the place behind a page taken for that of its last event with an id",
        "shipper/sources/auth0_kind.py",
        "            places[-1] = following.encode().decode()\n",
        "            pass\n",
        (f"{FILE}::test_interrupted_at_any_request_the_same_command_goes_on_with_nothing_missing_or_twice",),
    ),
    Mutant(
        "a chain that leads back followed",
        "shipper/sources/auth0_kind.py",
        "if following == here or following.before(here):",
        "if following == here:",
        (f"{FILE}::test_a_chain_that_leads_back_ends_in_words_and_repeats_nothing",),
    ),
    Mutant(
        "more results than can be had taken for all",
        WALK,
        "return Came.TOO_MANY if events else None",
        "return None",
        (f"{SEARCH}::test_a_search_beyond_the_cap_is_parted_until_each_part_fits",),
    ),
    Mutant(
        "a search that does not add up taken for whole",
        WALK,
        "        if len(self._read) == self._places or",
        "        if self._read or",
        ("tests/source/test_source_walk.py::test_what_is_there_from_beginning_to_end_is_in_a_whole_search",),
    ),
    Mutant(
        "a search read oldest first, where the retention moves its pages",
        READER,
        '"date:-1" if whole_list else',
        '"date:1" if whole_list else',
        (f"{SEARCH}::test_what_the_retention_takes_between_two_pages_moves_nothing_out",),
    ),
    Mutant(
        "both halves of a search given the moment between them",
        RESULTS,
        '"*]" if window.before is None else f"{iso(window.before)}}}"',
        '"*]" if window.before is None else f"{iso(window.before)}]"',
        (f"{SEARCH}::test_many_of_one_millisecond_and_of_any_bounds_are_parted_from_the_rest",),
    ),
    Mutant(
        "events that can't be had forgotten",
        READER,
        "        self.missing += missing\n",
        "",
        (f"{SEARCH}::test_a_millisecond_that_does_not_fit_is_told_and_the_rest_comes",),
    ),
)
