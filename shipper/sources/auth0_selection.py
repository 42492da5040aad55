"""What of a tenant's log Auth0 offers: all of a time along the chain, what a search finds, or a user's events."""

import re

from shipper.sources.selection import ALL, Selection, SelectionError
from shipper.sources.walk import CAP

SORT_FIELDS = (
    *("date", "connection", "client_id", "client_name", "ip", "user_id", "user_name", "description"),
    *("user_agent", "type", "details", "strategy", "strategy_type"),
)
"""What a user's events can be sorted by (Auth0's API description)."""
_SORT = re.compile(r"([A-Za-z_.]{1,64}):(-?1)")
_FIELD = re.compile(r"[A-Za-z_.$]{1,64}")
_TYPOGRAPHIC = frozenset("\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033")
"""A query that was copied out of a document finds nothing, and nobody says why."""
_QUOTED = re.compile(r'\\.|"(?:[^"\\]|\\.)*"', re.DOTALL)


def expect_offered(selection: Selection) -> None:
    """Raises SelectionError for what Auth0 does not offer."""
    if selection.application or selection.key:
        raise SelectionError("--application and --key are Logto's: for Auth0 say --query 'client_id:\"…\"', 'type:…'")
    if selection.query is not None and selection.user:
        raise SelectionError("a user's events can't be searched: say --query 'user_id:\"…\" AND …' alone")
    if selection.query is None and not selection.user:
        _expect_chain(selection)
        return
    if selection.user and not selection.whole:
        raise SelectionError("Auth0 gives a user's events whole: --fields and --exclude-fields go with --query")
    _expect_sort(selection)
    for field in (*selection.fields, *selection.excluded):
        if not _FIELD.fullmatch(field):
            raise SelectionError(f"{field[:40]!a} is no field: they are names, with commas between them")
    if selection.page is not None and (selection.page + 1) * selection.per_page > CAP:
        raise SelectionError(f"--page {selection.page} lies beyond the {CAP:,} results that a search gives")
    if selection.query:
        _expect_closed(selection.query)


def _expect_chain(selection: Selection) -> None:
    """All events of a time come along the chain, which knows nothing else."""
    if selection != ALL:
        raise SelectionError(
            "--sort, --fields, --exclude-fields, --page, --per-page and --include-totals belong to a search: say "
            "--query too ('' for everything)"
        )


def _expect_sort(selection: Selection) -> None:
    if not selection.sort:
        return
    found = _SORT.fullmatch(selection.sort)
    if found is None:
        raise SelectionError("--sort is FIELD:1 for ascending or FIELD:-1 for descending, like date:-1")
    if selection.user and found[1] not in SORT_FIELDS:
        raise SelectionError(f"a user's events can be sorted by {', '.join(SORT_FIELDS)}; not by {found[1]}")


def _expect_closed(query: str) -> None:
    """What is not closed would take our own part of the query along."""
    bare, depth = without_quotes(query), 0
    if _TYPOGRAPHIC & set(bare):
        raise SelectionError('the query has typographic quotation marks, which are letters to Auth0: write "…"')
    for char in bare:
        depth += {"(": 1, ")": -1}.get(char, 0)
        if depth < 0:
            break
    if depth or '"' in bare or bare.endswith("\\"):
        raise SelectionError("the query has a parenthesis or a quotation mark too many, or one too few")


def without_quotes(query: str) -> str:
    """What of a query is its own language: nothing in quotation marks, and nothing that is escaped."""
    return _QUOTED.sub("", query)
