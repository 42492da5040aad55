"""What is wrong with a configuration, in lines that a person can act on and that never hold a secret."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

Key = tuple[str, ...]
"""Where a setting stands: ("sinks", "siem", "batch", "max_events")."""

SHORT = 30
"""The longest text that a line repeats: common kinds of secrets are longer, and so are most accidents."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class ConfigError(Exception):
    """The configuration is wrong. file: the one that was read; lines: each a whole problem."""

    def __init__(self, file: Path, lines: Sequence[str]) -> None:
        super().__init__("\n  ".join([f"{printable(str(file))}:", *lines]))
        self.file = file
        self.lines = list(lines)


class Problems:
    """Collects them all, so that they can be mended in one go."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.variables: Mapping[Key, str] = {}
        """Settings that came from the environment, and from which variable: a line must blame that, not the file."""

    def add(self, key: Key, text: str) -> None:
        """One problem with one setting."""
        where = dotted(key)
        if key in self.variables:
            where = f"{self.variables[key]} ({where})"
        self.say(f"{where}: {text}" if where else text)

    def say(self, line: str) -> None:
        """One problem as a line of its own; the same line a second time adds nothing."""
        if line not in self.lines:
            self.lines.append(line)


def dotted(key: Key) -> str:
    """The key as the file writes it, quoted where TOML asks for that."""
    return ".".join(part if _BARE.fullmatch(part) else quoted(part) for part in key)


def quoted(text: str) -> str:
    """A TOML basic string. JSON's escapes are valid there; what else is not printable is escaped TOML's way."""
    encodable = text.encode("utf-8", "replace").decode("utf-8")
    plain = json.dumps(encodable, ensure_ascii=False)
    return "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in plain)


def printable(text: str) -> str:
    """The text without control characters, which could rewrite a terminal or forge a line of a log."""
    return "".join(char if char.isprintable() else "?" for char in text)


def nearest(word: str, known: Iterable[str], *, quote: bool = True) -> str:
    """A question that names the nearest known word, or nothing where none is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    if not close:
        return ""
    return f"; did you mean {quoted(close[0]) if quote else close[0]}?"


def shown(value: object) -> str:
    """The value as it may be repeated in a line: numbers and short plain texts; nothing of anything else."""
    if isinstance(value, bool):
        return str(value).lower()
    text = quoted(value) if isinstance(value, str) else str(value) if isinstance(value, int | float) else ""
    # An "@" may end a password in an address.
    return text if len(text) <= SHORT + 2 and "@" not in text else ""


def but(value: object) -> str:
    """The end of a sentence that says what the value must be: what it is instead, where that may be shown."""
    return f", not {text}" if (text := shown(value)) else ""
