"""When a client certificate, or a token that nobody renews, ends: told before it holds a lane or a source."""

import base64
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

import msgspec
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from shipper.config import Settings
from shipper.sink import SinkConfig
from shipper.sources import SourceConfig


class ExpiryCollector(Collector):
    """Looks at the files of what is in use whenever someone asks for metrics; they are small, and read once."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings

    def collect(self) -> Iterable[Metric]:
        """One family. What can't be read, or tells no end, has no value: whoever uses it says what is wrong."""
        ends = GaugeMetricFamily(
            "shipper_credential_expires_timestamp_seconds",
            "When a client certificate, or a token that nobody renews, ends (unix time)",
            labels=["name", "credential"],
        )
        for name, config in _in_use(self._settings()).items():
            for credential, end in (("certificate", _certificate_of(config)), ("token", _token_of(config))):
                if end is not None:
                    ends.add_metric([name, credential], end)
        yield ends


def _in_use(settings: Settings) -> dict[str, SourceConfig | SinkConfig]:
    parts: dict[str, SourceConfig | SinkConfig] = {f"sources.{name}": one for name, one in settings.sources.items()}
    parts.update({f"sinks.{name}": one for name, one in settings.sinks.items()})
    return {name: one for name, one in parts.items() if one.enabled}


def _certificate_of(config: SourceConfig | SinkConfig) -> float | None:
    path = config.tls.cert_file
    if path is None:
        return None
    try:
        return certificate_end(path, path.stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=256)
def certificate_end(path: Path, changed: int) -> float | None:
    """notAfter of the first certificate in a PEM file, unix time; None where there is none. Raises OSError.

    changed: a file under the same name with another time is another one.
    """
    del changed
    # Only those who use a certificate pay for the library.
    from cryptography.x509 import load_pem_x509_certificate

    try:
        return load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()
    except ValueError:
        return None


def _token_of(config: SourceConfig | SinkConfig) -> float | None:
    token = config.fixed_token if isinstance(config, SourceConfig) else None
    try:
        return None if token is None else token_end(token.get())
    except OSError:
        return None


def token_end(token: str) -> float | None:
    """The `exp` of a JSON Web Token (RFC 7519), unix time; None where it tells none. It is read, not verified."""
    _, _, rest = token.partition(".")
    claims, dot, _ = rest.partition(".")
    try:
        found = msgspec.json.decode(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))) if dot else None
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return None
    end = found.get("exp") if isinstance(found, dict) else None
    return float(end) if isinstance(end, int | float) and not isinstance(end, bool) and end >= 0 else None
