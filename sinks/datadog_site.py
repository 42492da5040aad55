"""Datadog's sites and the key's check, by Datadog's own client package.

It is heavy, so it is imported when it is used. Why it does not carry the events is told in `shipper/DECISIONS.md`.
"""

import asyncio
import difflib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from shipper import Unavailable, tls_trouble

VALIDATE_SECS = 10.0
"""What the validation of the key may take: `shipper check` ends in any case."""

INTAKE = "http-intake.logs"
"""The intake's name within a site."""

T = TypeVar("T")


def known_site(site: str) -> str:
    """One of the client package's sites. Raises ValueError with the nearest."""
    from datadog_api_client import Configuration

    known = Configuration().get_host_settings()[0]["variables"]["site"]["enum_values"]
    if site in known:
        return site
    close = difflib.get_close_matches(site.lower(), known, n=1)
    question = f"; did you mean {close[0]}?" if close else ""
    raise ValueError(f"must be one of Datadog's sites{question} ({', '.join(known)}; for another intake, set url)")


def address_of(site: str, subdomain: str) -> str:
    """Where a site has a service, by the client package."""
    from datadog_api_client import Configuration

    return str(Configuration().get_host_from_settings(0, {"site": site, "subdomain": subdomain}))


def key_trouble(host: str, key: str, proxy: str | None, tls: Any, limit: float) -> str:
    """Asks for the key's validity. Blocks. "": it is valid; else why that is not known; raises Unavailable if not."""
    import urllib3
    from datadog_api_client import ApiClient, Configuration
    from datadog_api_client.exceptions import ApiException
    from datadog_api_client.v1.api.authentication_api import AuthenticationApi

    # By itself the client repeats, and takes the key along to wherever a redirect leads.
    once = urllib3.Retry(total=0, redirect=False, raise_on_redirect=False)
    settings = Configuration(host=host, api_key={"apiKeyAuth": key}, request_timeout=limit, retry_policy=once)
    settings.proxy, settings.proxy_headers = proxy, _proxy_headers(proxy)
    with ApiClient(settings) as client:
        client.rest_client.pool_manager.connection_pool_kw["ssl_context"] = tls.context()
        try:
            valid = AuthenticationApi(client).validate().valid
        except ApiException as error:
            if error.status not in (401, 403):
                return f"HTTP {error.status}" if error.status else tls_trouble(error) or "the connection was lost"
            valid = False
        except urllib3.exceptions.HTTPError as error:
            if (trouble := tls_trouble(error)) is not None:
                return trouble
            return f"no connection ({type(getattr(error, 'reason', None) or error).__name__})"
        except (ValueError, TypeError, AttributeError):
            return "its answer makes no sense"
    if not valid:
        raise Unavailable("auth", f"{host} says that the API key is not valid")
    return ""


def _proxy_headers(proxy: str | None) -> dict[str, str] | None:
    """The proxy's name and password, which urllib3 does not take out of its address by itself."""
    from urllib3 import make_headers

    parts = urlsplit(proxy or "")
    if parts.username is None:
        return None
    return dict(make_headers(proxy_basic_auth=f"{unquote(parts.username)}:{unquote(parts.password or '')}"))


async def aside(work: Callable[[], T]) -> T:
    """The result of something that blocks, from a daemon thread: one that hangs keeps neither loop nor process."""
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()  # from here on nobody who waits for it can cancel it

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  handed on to whoever waits
            done.set_exception(error)
        else:
            done.set_result(result)

    threading.Thread(target=run, name="datadog", daemon=True).start()
    return await asyncio.wrap_future(done)
