"""What a search of Auth0's, or a list of a user's events, answers: one page at a time, with refusals explained.

Facts that this rests on (Auth0 docs, "Retrieve Log Events Using the Management API" and "Log Search Query Syntax", and
recorded traffic): pages are counted from 0 and hold 1 to 100 events, a bound in curly brackets is left out, `fields`
answers `_id` and no log_id, `include_totals` makes an object of the array, and a user's events come in pages only where
`per_page` says so. Their Link is plain http: nothing here looks at one.
"""

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from shipper.event import Event
from shipper.http import Answer
from shipper.shape.members import member
from shipper.sources.auth0_api import Auth0Api
from shipper.sources.auth0_selection import without_quotes
from shipper.sources.chain import PATH
from shipper.sources.pace import pause_secs
from shipper.sources.selection import Selection
from shipper.sources.split import UnreadableError, events_in
from shipper.sources.trouble import Trouble
from shipper.sources.walk import Window

_PRIVATE_FIELD = re.compile(r"(?<![\w.])(user|application)\s*:")


class Results:
    """The results of one selection. user: the list of this one's events is read; "" for a search.

    pause_secs: what the tenant's limits ask for before the next page.
    """

    def __init__(self, api: Auth0Api, selection: Selection, log: Any) -> None:
        self._api, self._selection, self._log = api, selection, log
        self.user, self._query = selection.user, selection.query or ""
        self._told = not selection.totals
        self.pause_secs = 0.0

    def now(self) -> int:
        """The tenant's time, milliseconds since 1970 UTC."""
        return self._api.server.now()

    async def close(self) -> None:
        """Closes the connections."""
        await self._api.close()

    def go_by_search(self) -> None:
        """A search for the user's events takes the place of the list of them."""
        self.user, self._query = "", f"user_id:{json.dumps(self._selection.user, ensure_ascii=False)}"

    async def page(self, window: Window, page: int, sort: str) -> list[Event]:
        """The events of one page. Raises Trouble."""
        target = self._target(window, page, sort, totals=self._selection.totals)
        return self._events((await self._answer(target)).body)

    async def oldest(self, window: Window) -> list[Event]:
        """The oldest event, if there is one. Raises Trouble."""
        target = self._target(window, 0, "date:1", totals=self._selection.totals, per_page=1, whole=True)
        return self._events((await self._answer(target)).body)

    async def total(self, window: Window) -> int:
        """How many there are, by the tenant's count, which may be that of a page alone. Raises Trouble."""
        answer = await self._answer(self._target(window, 0, "", totals=True, per_page=1))
        return int(_number(answer.body, "total") or 0)

    def _target(
        self, window: Window, page: int, sort: str, *, totals: bool, per_page: int = 0, whole: bool = False
    ) -> str:
        query = {"page": str(page), "per_page": str(per_page or self._selection.per_page), "sort": sort}
        if totals:
            query["include_totals"] = "true"
        if self.user:
            path = f"/api/v2/users/{quote(self.user, safe='')}/logs"
        else:
            path = PATH
            query["q"] = _within(self._query, window)
            if not whole and not self._selection.whole:
                query["fields"] = ",".join(self._selection.fields or self._selection.excluded)
                query["include_fields"] = "true" if self._selection.fields else "false"
        return f"{path}?{urlencode({name: value for name, value in query.items() if value})}"

    async def _answer(self, target: str) -> Answer:
        try:
            answer = await self._api.get(target)
        except Trouble as trouble:
            raise self._explained(trouble) from None
        self.pause_secs = pause_secs(answer.headers, self.now())
        return answer

    def _explained(self, trouble: Trouble) -> Trouble:
        """What a person can do about the query, where that is what the tenant refuses."""
        if trouble.status == 404 and self.user:
            return Trouble("not_found", "HTTP 404: the tenant knows no such user")
        if trouble.status == 414:
            return Trouble("refused", "HTTP 414: the request is longer than the tenant takes: shorten the query")
        private = _PRIVATE_FIELD.search(without_quotes(self._query))
        if trouble.status == 400 and private:
            instead = "user_id or user_name" if private[1] == "user" else "client_id or client_name"
            hint = f"{private[1]} can be searched in a Private Cloud only; elsewhere say {instead}"
            return Trouble("refused", f"{trouble.note}: {hint}", detail=trouble.detail)
        return trouble

    def _events(self, body: bytes) -> list[Event]:
        if body.lstrip().startswith(b"{"):
            self._tell_totals(body)
            body = _logs_in(body)
        try:
            events, _ = events_in(body, self.now())
        except UnreadableError:
            raise Trouble("bad_answer", "HTTP 200 but no page that can be split into events") from None
        return events

    def _tell_totals(self, body: bytes) -> None:
        if self._told:
            return
        self._told = True
        numbers = [
            f"{name} {found}" for name in ("start", "limit", "length", "total") if (found := _number(body, name))
        ]
        self._log.warning("the tenant counts", note=f"{', '.join(numbers)} (total may be that of the page alone)")


def iso(at_ms: int) -> str:
    """A time in milliseconds since 1970 UTC as a query has it."""
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def _within(query: str, window: Window) -> str:
    if window.since is None and window.before is None:
        return query
    low = "*" if window.since is None else iso(window.since)
    high = "*]" if window.before is None else f"{iso(window.before)}}}"
    dates = f"date:[{low} TO {high}"
    return f"({query}) AND {dates}" if query.strip() else dates


def _logs_in(body: bytes) -> bytes:
    try:
        logs = member(body, "logs")
    except ValueError:
        logs = None
    if logs is None:
        raise Trouble("bad_answer", "HTTP 200 but neither an array of events nor an object with one")
    return logs


def _number(body: bytes, name: str) -> str:
    try:
        found = (member(body, name) or b"").decode()
    except ValueError:
        return ""
    return found if found.isascii() and found.isdigit() and len(found) < 16 else ""
