"""Bugs in how a Logto tenant's list, which has no chain, is read without loss."""

from mutants.planting import Mutant

INSERTED = "tests/logto/test_logto_inserted.py"
TAIL, TROUBLE, WINDOW = (f"tests/logto/test_logto_{part}.py" for part in ("tail", "trouble", "window"))
SOURCE, STRETCHES, DECIDED = (f"shipper/sources/logto{part}.py" for part in ("", "_stretches", "_window"))

IN_LOGTO = (
    Mutant(
        "a window taken for whole without its events being counted",
        STRETCHES,
        "                if len(found) == total:\n",
        "                if True:\n",
        (f"{TROUBLE}::test_a_window_whose_pages_never_add_up_is_not_stored",),
    ),
    Mutant(
        "a window counted by a number that changed meanwhile",
        STRETCHES,
        "            if total_of(await fetch.headers) != total:\n                return None\n",
        "",
        (f"{TROUBLE}::test_an_event_committed_far_behind_its_margin_between_two_pages_has_the_window_read_again",),
    ),
    Mutant(
        "Logto read up to now",
        SOURCE,
        "self.server_now() + self._ahead_ms - self._margin_ms",
        "self.server_now() + self._ahead_ms",
        (TAIL,),
    ),
    Mutant(
        "two stretches without an overlap",
        DECIDED,
        "since = max(held.since, position - stretch.overlap_ms)",
        "since = max(held.since, position)",
        (TAIL,),
    ),
    Mutant(
        "what is known of the overlap forgotten with the next stretch",
        DECIDED,
        "for id_, time in (*held.known.items(), *times) if time >= since",
        "for id_, time in times if time >= since",
        (INSERTED,),
    ),
    Mutant(
        "events of one time handed out in reverse",
        DECIDED,
        "for event in reversed(stretch.events) if event.id",
        "for event in stretch.events if event.id",
        (WINDOW,),
    ),
    Mutant(
        "windows that leave out their own bounds, for releases that do so, too",
        STRETCHES,
        "max(0, since - 1), end + 1)",
        "since, end)",
        (TAIL,),
    ),
    Mutant(
        "several pages taken for one answer though the list moved between them",
        STRETCHES,
        "whole = len(answers) == 1 or (len(totals) == 1 and len(events) == sum(map(len, answers)))",
        "whole = True",
        (INSERTED,),
    ),
    Mutant(
        "a window asked for in one piece for ever, of which some pages never come",
        STRETCHES,
        "                    self._windows.broken_off(begin, end)\n",
        "                    pass\n",
        (f"{TROUBLE}::test_a_limit_that_lets_less_through_than_a_window_has_pages_is_got_by",),
    ),
)
