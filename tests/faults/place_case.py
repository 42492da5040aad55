"""Destinations that keep what they take, and misbehave while they are told to: for the fault matrix and for the soak.

A place stands on a port of its own, so a running `shipper` can be pointed at it as well as a lane within a test.
"""

import gzip
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote
from xml.sax.saxutils import escape

import msgspec
from tls_case import Proxy, serving

from shipper import Batch, Secret, Sink
from shipper.scripted import Destination, Received, Reply, Step
from sinks.datadog import Datadog
from sinks.s3 import S3
from sinks.splunk_hec import SplunkHec

CANARY = "c4n4ry-secret-of-the-sink"
"""The token, API key or secret key of every sink here: what shows it has leaked it."""
CULPRIT = b'"culprit":true'
"""Stands in the event that a destination refuses."""


class Keeper(ABC):
    """One kind of destination: what it makes of a good write, and how it words an error."""

    name: ClassVar[str]

    def __init__(self) -> None:
        self.taken: list[list[bytes]] = []
        """The events of each write that was taken, byte for byte, in the order in which they came."""

    @abstractmethod
    def events(self, received: Received) -> list[bytes]:
        """The events in a request, in their own bytes; none where it is no write."""

    @abstractmethod
    def take(self, received: Received, upto: int | None = None) -> Reply:
        """Keeps the events (only so many of them), and says so."""

    @abstractmethod
    def error(self, received: Received, status: int, code: object = None) -> tuple[bytes, str]:
        """Body and type of an error, which quotes all that was sent. code: the destination's own; None: a usual one."""

    @abstractmethod
    def sink(self, url: str, **general: Any) -> Sink:
        """Our sink in front of it, with the canary for a secret."""

    def heal(self) -> None:  # noqa: B027  most have nothing of their own to end
        """Does again what it should."""

    def keep(self, received: Received, upto: int | None = None) -> None:
        """Remembers a write's events."""
        self.taken.append(self.events(received)[:upto])


class _Wrapped(msgspec.Struct):
    data: msgspec.Raw


class _Envelope(msgspec.Struct):
    event: _Wrapped


class SplunkKeeper(Keeper):
    name = "splunk_hec"
    _codes: ClassVar[Mapping[int, int]] = {400: 6, 401: 3, 403: 4, 404: 404, 429: 26, 500: 8, 503: 9}

    def events(self, received: Received) -> list[bytes]:
        # Latin-1 has one character for each byte, so places in the text are places in the body.
        text, at, found = received.body.decode("latin-1"), 0, []
        while at < len(text) and received.path.endswith("/event"):
            _, end = json.JSONDecoder().raw_decode(text, at)
            found.append(bytes(msgspec.json.decode(received.body[at:end], type=_Envelope).event.data))
            at = end
        return found

    def take(self, received: Received, upto: int | None = None) -> Reply:
        self.keep(received, upto)
        return Reply(200, b'{"text":"Success","code":0}')

    def error(self, received: Received, status: int, code: object = None) -> tuple[bytes, str]:
        reply = {"text": quoted(received), "code": self._codes.get(status, status), **_object(code)}
        return json.dumps(reply).encode(), "application/json"

    def sink(self, url: str, **general: Any) -> Sink:
        return HeardSplunk(SplunkHec.Config(**{"url": url, "token": Secret(CANARY), **_usual(general)}))


class DatadogKeeper(Keeper):
    name = "datadog"

    def events(self, received: Received) -> list[bytes]:
        return [bytes(entry.data) for entry in msgspec.json.decode(received.body, type=list[_Wrapped])]

    def take(self, received: Received, upto: int | None = None) -> Reply:
        self.keep(received, upto)
        return Reply(202, b"{}")

    def error(self, received: Received, status: int, code: object = None) -> tuple[bytes, str]:
        return json.dumps({"errors": [{"status": status, "detail": quoted(received)}]}).encode(), "application/json"

    def sink(self, url: str, **general: Any) -> Sink:
        return HeardDatadog(Datadog.Config(**{"url": url, "api_key": Secret(CANARY), **_usual(general)}))


class StoreKeeper(Keeper):
    name = "s3"
    _codes: ClassVar[Mapping[int, str]] = {
        400: "InvalidRequest",
        401: "InvalidAccessKeyId",
        403: "AccessDenied",
        404: "NoSuchBucket",
        413: "EntityTooLarge",
        429: "SlowDown",
    }

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, dict[str, str]] = {}
        """Key → metadata."""

    def events(self, received: Received) -> list[bytes]:
        if received.method != "PUT":
            return []
        lines = gzip.decompress(received.body).splitlines()
        return [bytes(msgspec.json.decode(line, type=_Wrapped).data) for line in lines]

    def take(self, received: Received, upto: int | None = None) -> Reply:
        key = unquote(received.path)
        if received.method == "HEAD":
            metadata = self.objects.get(key)
            return Reply(404) if metadata is None else Reply(200, headers={"ETag": '"made-up"', **metadata})
        if key in self.objects:
            assert received.headers["If-None-Match"] == "*"
            return Reply(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        self.objects[key] = {name: text for name, text in received.headers.items() if name.startswith("x-amz-meta-")}
        self.keep(received)
        return Reply(200, headers={"ETag": '"made-up"'})

    def error(self, received: Received, status: int, code: object = None) -> tuple[bytes, str]:
        words = f"<Code>{code or self._codes.get(status, 'InternalError')}</Code><Message>{escape(quoted(received))}"
        return f"<Error>{words}</Message></Error>".encode(), "application/xml"

    def sink(self, url: str, **general: Any) -> Sink:
        general = _usual(general)
        # Objects wait minutes for more events by default.
        general["batch"] = {"timeout_secs": 0, **general["batch"]}
        place: dict[str, Any] = {"bucket": "logs", "region": "eu-west-1", "endpoint_url": url}
        return HeardS3(S3.Config(**place, **general))


KEEPERS: dict[str, type[Keeper]] = {kind.name: kind for kind in (SplunkKeeper, DatadogKeeper, StoreKeeper)}


def quoted(received: Received) -> str:
    """What a careless destination repeats of a request: its headers, and as much of its body as can be read."""
    headers = " ".join(f"{name}: {text}" for name, text in received.headers.items())
    body = "".join(character for character in received.body.decode("latin-1") if character.isprintable())
    return f"{headers} {body}"[:4000]


def _object(code: object) -> dict[str, Any]:
    return {} if code is None else code if isinstance(code, dict) else {"code": code}


def _usual(general: dict[str, Any]) -> dict[str, Any]:
    return {"proxy": "none", "add_tenant_name": False, "batch": {"max_events": 4}, **general}


class Heard(Sink):
    """Beside a sink: remembers what its writes raised, since nobody else sees these exceptions' texts."""

    raised: Sequence[Exception] = ()

    async def write(self, batch: Batch) -> Any:
        try:
            return await super().write(batch)  # type: ignore[safe-super]
        except Exception as outcome:
            self.raised = [*self.raised, outcome]
            raise


class HeardSplunk(Heard, SplunkHec):
    """Splunk's sink, heard."""


class HeardDatadog(Heard, Datadog):
    """Datadog's sink, heard."""


class HeardS3(Heard, S3):
    """S3's sink, heard."""


class Place(Destination):
    """A destination on a port that stays its own, which keeps what it takes; make it misbehave, then `heal` it.

    certificates: the folder of `tls_case.make_certificates`, for one that speaks TLS.
    """

    def __init__(self, keeper: Keeper, *, certificates: Path | None = None, port: int = 0) -> None:
        super().__init__(default=keeper.take, port=port, tls=serving(certificates) if certificates else None)
        self.keeper = keeper
        self.way: Proxy | None = None
        """The proxy that leads here, where there is one."""
        self.elsewhere = ""
        """Where a redirect to a stranger leads."""
        self._certificates = certificates
        self._gone = False

    def behave(self, step: Step) -> None:
        """From now on every request is answered so."""
        self.default = step

    def go(self) -> None:
        """Nobody listens any more; connections that are open are closed."""
        self._submit(self._stop()).result(timeout=10)
        self._gone = True

    def come_back(self, **tls: Any) -> None:
        """Listens again on its port. tls: for `tls_case.serving`, where it speaks that."""
        if not self._gone:
            self.go()
        if self._certificates is not None:
            self._tls = serving(self._certificates, **tls)
        self._submit(self._start()).result(timeout=10)
        self._gone = False

    def heal(self) -> None:
        """All is well again."""
        self.keeper.heal()
        self.default = self.keeper.take
        if self.way is not None:
            self.way.to_port = 0
        if self._gone or self._tls is not None:
            self.come_back()

    def __exit__(self, *exception: object) -> None:
        if self._gone:
            self.come_back()
        super().__exit__(*exception)  # type: ignore[arg-type]
