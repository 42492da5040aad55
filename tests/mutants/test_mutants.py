"""The table of bugs fits the sources as they are; `make mutants` plants them."""

import re
from collections import Counter

import pytest

from mutants.planting import ROOT, Mutant, Run, TableError
from mutants.table import MUTANTS


def test_what_a_mutant_replaces_stands_there_once_and_leaves_a_program() -> None:
    for mutant in MUTANTS:
        text = (ROOT / mutant.file).read_text()
        planted = mutant.planted(text)
        assert planted != text
        compile(planted, mutant.file, "exec")


def test_what_shall_notice_a_mutant_is_there() -> None:
    for test in {test for mutant in MUTANTS for test in mutant.tests}:
        file, _, name = test.partition("::")
        assert re.search(rf"\bdef {name}\(" if name else "", (ROOT / file).read_text()), test


def test_every_mutant_has_a_name_of_its_own_and_someone_who_shall_notice() -> None:
    names = Counter(mutant.name for mutant in MUTANTS)
    assert max(names.values()) == 1
    assert all(mutant.tests for mutant in MUTANTS)


def test_a_text_that_stands_there_twice_or_never_is_no_mutant() -> None:
    mutant = Mutant("one", "a.py", "x", "y", ("a",))
    assert mutant.planted("x = 1") == "y = 1"
    for text in ("x = x", "z"):
        with pytest.raises(TableError):
            mutant.planted(text)


def test_only_a_test_that_failed_has_caught_something() -> None:
    failed = "FAILED tests/a.py::test_b[c d - e] - assert 1 == 2\nFAILED tests/a.py::test_c[x]\n"
    assert Run(1, failed, 0.0).caught_by() == "tests/a.py::test_b[c d - e]"
    assert Run(0, "1 passed", 0.0).caught_by() == ""


@pytest.mark.parametrize(
    "run",
    [
        Run(1, "ERROR tests/a.py::test_b - no fixture\n", 0.0),
        Run(2, "ERROR tests/a.py - ImportError\n", 0.0),
        Run(4, "ERROR: not found: tests/a.py::test_b\n", 0.0),
        Run(5, "no tests ran\n", 0.0),
        Run(None, "", 600.0),
    ],
)
def test_what_breaks_the_tests_themselves_is_an_error_of_the_table(run: Run) -> None:
    with pytest.raises(TableError):
        run.caught_by()
