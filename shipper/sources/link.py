"""The `Link` header (RFC 8288), which may hold several values, come in several lines, in any order."""

import re
from collections.abc import Iterable, Iterator

_TARGET = re.compile(r"[\s,]*<([^<>]*)>")
_PARAMETER = re.compile(r"\s*;\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s;,\"]*)))?")


def next_link(values: Iterable[str]) -> str | None:
    """The target of the first link whose relations hold `next`; None where there is none."""
    for target, parameters in _links(values):
        # RFC 8288 3.3: only the first rel counts; it may name several relations; case does not matter.
        if "next" in parameters.get("rel", "").lower().split():
            return target
    return None


def _links(values: Iterable[str]) -> Iterator[tuple[str, dict[str, str]]]:
    for value in values:
        at = 0
        while (link := _TARGET.match(value, at)) is not None:
            at = link.end()
            parameters: dict[str, str] = {}
            while (parameter := _PARAMETER.match(value, at)) is not None:
                at = parameter.end()
                name, quoted, token = parameter.groups()
                words = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else token or ""
                parameters.setdefault(name.lower(), words)
            yield link[1].strip(), parameters
            # What can't be read up to the next comma belongs to this link.
            comma = value.find(",", at)
            at = len(value) if comma < 0 else comma
