"""Which events a sink gets, by their types alone: those stand beside each page, so no event is parsed for it."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import lru_cache

from pydantic import BaseModel, ConfigDict, field_validator

from shipper.shape.event_types import CATEGORIES, EVENT_TYPES, event_type, in_category

Wants = Callable[[str], bool]
"""Whether events of a type are wanted."""
TYPES_REMEMBERED = 1024
"""Types are written by strangers: there may be any number of them."""


class Filter(BaseModel):
    """`[sinks.NAME.filter]`. With any include, only what one of them names; then without what an exclude names.

    In types, * stands for anything. A category has those below it, too; a type that is not known is in `other`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    include_types: list[str] = []
    exclude_types: list[str] = []
    include_categories: list[str] = []
    exclude_categories: list[str] = []

    @field_validator("include_categories", "exclude_categories")
    @classmethod
    def _categories_exist(cls, value: list[str]) -> list[str]:
        for one in value:
            if not is_category(one):
                raise ValueError(f"must name categories as `shipper types` lists them{nearest_category(one)}")
        return value

    @property
    def is_set(self) -> bool:
        """Whether it leaves anything out."""
        return any(value for _, value in self)

    def wants(self) -> Wants | None:
        """The decision for a type; None where all are wanted, so that nobody asks."""
        if not self.is_set:
            return None
        includes = bool(self.include_types or self.include_categories)

        @lru_cache(TYPES_REMEMBERED)
        def wanted(type_: str) -> bool:
            if includes and not _named(type_, self.include_types, self.include_categories):
                return False
            return not _named(type_, self.exclude_types, self.exclude_categories)

        return wanted

    def doubts(self, sources: Iterable[str] = ()) -> list[str]:
        """A line for what may be a slip. sources: the kinds of those whose events go through it."""
        categories = [*self.include_categories, *self.exclude_categories] if "logto" in sources else []
        return [*doubts([*self.include_types, *self.exclude_types]), *filter(None, map(_outcome_untold, categories))]


def doubts(types: Iterable[str]) -> list[str]:
    """A line for each type that no list knows: that is no mistake, since it may be new, but may well be one."""
    known = [each.code for each in EVENT_TYPES]
    lines = []
    for one in types:
        if "*" not in one and not event_type(one).name:
            near = next(iter(get_close_matches(one, known, n=1)), "")
            lines.append(f"no type {ascii(one)[1:-1]} is known" + (f"; did you mean {near}?" if near else ""))
    return lines


def _outcome_untold(category: str) -> str:
    """That no key of Logto's is in this category, where its keys are in the one above; else nothing."""
    keys = [each.category for each in EVENT_TYPES if each.outcome is None]
    above = category.rpartition(".")[0]
    if any(in_category(key, category) for key in keys) or not any(in_category(key, above) for key in keys):
        return ""
    return f"no event of Logto's is in {category}: its keys don't tell how it came out; {above} has them all"


def is_category(category: str) -> bool:
    """Whether any type is in this category, or below it."""
    return any(in_category(known, category) for known in CATEGORIES)


def nearest_category(word: str) -> str:
    """A question that names the nearest one, or nothing where none is near."""
    near = get_close_matches(word, sorted(CATEGORIES), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _named(type_: str, types: Iterable[str], categories: Iterable[str]) -> bool:
    category = event_type(type_).category
    return any(fnmatchcase(type_, one) for one in types) or any(in_category(category, one) for one in categories)
