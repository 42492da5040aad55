"""A look at a Logto tenant's log before it is read: what `shipper check` and a first start tell of it."""

from typing import Any

from shipper.sources.logto_api import LogtoApi, total_of
from shipper.sources.logto_events import events_in
from shipper.sources.split import UnreadableError
from shipper.sources.trouble import Trouble

DAY_MS = 86_400_000


async def how_much(api: LogtoApi) -> str:
    """How many events there are, in a line for a person; first a small question. Raises Trouble."""
    answer = await (fetch := api.page(1, 1)).answer
    everything = total_of(await fetch.headers)
    try:
        newest, _ = events_in(answer.body, 0)
    except UnreadableError:
        raise Trouble("bad_answer", "HTTP 200 but no JSON array: is endpoint the address of a Logto?") from None
    if not newest:
        return "there are no events yet"
    since = api.server.now() - DAY_MS
    answer = await (fetch := api.page(100, 1, since)).answer
    of_the_day = total_of(await fetch.headers)
    shown, _ = events_in(answer.body, since)
    if any(event.time < since - 1000 for event in shown):
        return f"{everything:,} events; this release does not know start_time, so reading takes more requests"
    return f"{everything:,} events, {of_the_day:,} of the last day"


async def check_tenant(api: LogtoApi) -> str:
    """Token, its scopes, a page, and how much there is, for a person. Raises Trouble."""
    much = await how_much(api)
    scopes = " ".join(sorted(api.token.scopes)) or "not told"
    return f"one page read; token's scopes: {scopes}\n{much}"


async def first_start_line(api: LogtoApi, log: Any) -> None:
    """One line of log about how much there is to read. Nothing waits for it, and nothing that fails in it counts."""
    try:
        much = await how_much(api)
    except Trouble as trouble:
        log.info("first start: no estimate of how much there is", reason=trouble.reason, note=trouble.note)
    except Exception as error:  # noqa: BLE001  an estimate is worth no failure, whatever a tenant answers
        log.warning("first start: no estimate of how much there is", error=type(error).__name__)
    else:
        line = f"first start: {much}"
        log.info(line)
