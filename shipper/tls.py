"""Whom a connection trusts, and what is said when it must not. There is no setting that trusts anybody."""

import ssl
from pathlib import Path

from pydantic import BaseModel, ConfigDict


class Tls(BaseModel):
    """How connections are trusted. `ca_file` is added to the system's authorities."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or newer, certificates and host names always checked. Raises OSError for files it can't use."""
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ca_file is not None:
            context.load_verify_locations(cafile=self.ca_file)
        if self.cert_file is not None:
            # Without a password OpenSSL would ask the terminal for one.
            context.load_cert_chain(self.cert_file, self.key_file, password=lambda: "")
        return context

    def files(self) -> list[tuple[int, int, int] | None]:
        """What tells the present files from others under the same names; None for one that can't be looked at."""
        found: list[tuple[int, int, int] | None] = []
        for path in (self.ca_file, self.cert_file, self.key_file):
            try:
                stat = path.stat() if path is not None else None
            except OSError:
                stat = None
            found.append((stat.st_mtime_ns, stat.st_size, stat.st_ino) if stat is not None else None)
        return found


_LOST = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""The connection went away while it was spoken over: nobody was refused."""

_VERDICTS = {
    9: "it is not valid yet: compare this machine's clock with theirs",
    10: "have it renewed there, or look at this machine's clock",
    18: "set tls.ca_file to the authority that signed it",
    19: "set tls.ca_file to the authority that signed it",
    20: "set tls.ca_file to the authority that signed it",
    21: "have the whole chain sent there, or set tls.ca_file to the authority that signed it",
    62: "use the name that stands in it",
    64: "use the name that stands in it",
}
"""OpenSSL's X509_V_ERR_… (openssl-verification-options(1)), and what to do."""

_ALERTS = (
    ("CERTIFICATE_REQUIRED", "a client certificate is demanded there: set tls.cert_file and tls.key_file"),
    ("ALERT_UNKNOWN_CA", "our client certificate is of an authority that is not known there"),
    ("ALERT_CERTIFICATE_EXPIRED", "our client certificate has expired: put another into tls.cert_file"),
    ("ALERT_CERTIFICATE_REVOKED", "our client certificate is revoked: put another into tls.cert_file"),
    ("ALERT_BAD_CERTIFICATE", "our client certificate is refused: see tls.cert_file"),
    ("ALERT_CERTIFICATE_UNKNOWN", "our client certificate is refused: see tls.cert_file"),
    ("ALERT_HANDSHAKE_FAILURE", "no agreement: a client certificate may be missing (tls.cert_file), or TLS 1.2"),
    ("PROTOCOL_VERSION", "only TLS 1.1 or older is spoken there: it has to offer 1.2 or newer"),
    ("UNSUPPORTED_PROTOCOL", "only TLS 1.1 or older is spoken there: it has to offer 1.2 or newer"),
    ("WRONG_VERSION_NUMBER", "no TLS is spoken on this port: check the address"),
)
"""A part of OpenSSL's own name for it, and what it means."""


def tls_trouble(error: BaseException) -> str | None:
    """Why TLS failed and what to do, in our own words and OpenSSL's; None where this is no failure of trust.

    error: of any library, which may have wrapped the cause.
    """
    cause = _cause(error)
    if cause is None or isinstance(cause, _LOST):
        return None
    if isinstance(cause, ssl.SSLCertVerificationError):
        advice = _VERDICTS.get(cause.verify_code, "")
        return f"the certificate is not trusted ({cause.verify_message}){f': {advice}' if advice else ''}"
    if not isinstance(cause, ssl.SSLError):
        return f"the certificate is not trusted (it is for another host): {_VERDICTS[62]}"
    name = getattr(cause, "reason", None) or ""
    meaning = next((f": {text}" for part, text in _ALERTS if part in name), "")
    return f"the TLS handshake failed{f' ({name})' if name else ''}{meaning}"


def _cause(error: BaseException) -> Exception | None:
    """OpenSSL's own among what led to this. Libraries keep it as cause, context, argument or attribute.

    Where there is none, one that a library made of that kind, which says no more. Or urllib3's CertificateError, which
    is none of OpenSSL's: botocore leaves the comparison with the host's name to it.
    """
    waiting: list[object] = [error]
    seen: set[int] = set()
    made: ssl.SSLError | None = None
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, ssl.SSLError):
            if isinstance(getattr(one, "reason", None), str) or isinstance(one, _LOST):
                return one
            made = made or one
        elif isinstance(one, ValueError) and type(one).__name__ == "CertificateError":
            return one
        kept = (getattr(one, name, None) for name in ("os_error", "certificate_error", "reason", "kwargs"))
        # Whoever raised it "from None" had something else in hand by chance.
        context = None if one.__suppress_context__ else one.__context__
        for what in (one.__cause__, context, *one.args, *kept):
            waiting += what.values() if isinstance(what, dict) else [what]
    return made
