"""How answers are shown: tables, moments, and text that others wrote without what a terminal would act on."""

from datetime import UTC, datetime

from rich.console import Console

OUTCOME_STYLES = {"success": "green", "failure": "red", "other": ""}


def console() -> Console:
    """Prints what it is given: no markup in names, and lines kept whole where nobody looks at a terminal."""
    width = None if Console().is_terminal else 200
    return Console(width=width, highlight=False, markup=False, emoji=False)


def visible(text: str) -> str:
    r"""The text with everything that does not show as itself written as \uXXXX, as JSON would.

    Control characters move a terminal's cursor or set its title; line and paragraph separators and marks of direction
    make one text look like another.
    """
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    pair = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{pair[at]:02x}{pair[at + 1]:02x}" for at in range(0, len(pair), 2))


def laid_out(raw: bytes) -> list[str]:
    """An event in lines for people, all of them visible; in one line where it is no JSON."""
    import msgspec

    try:
        lines = msgspec.json.format(raw, indent=2).decode().split("\n")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        lines = [raw.decode(errors="backslashreplace")]
    return [visible(line) for line in lines]


def moment(at_ms: int) -> str:
    """Milliseconds since 1970 as a time in UTC."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{at_ms} ms"  # no date holds it


def span(secs: float | None) -> str:
    """Seconds in the unit that suits."""
    if secs is None:
        return "unknown"
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if secs >= 2 * size:
            return f"{secs / size:.1f} {unit}"
    return f"{secs:.1f} s"
