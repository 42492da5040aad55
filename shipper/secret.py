"""A secret value: never printed, and read again from its file when that changes."""

import errno
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

SECRET_FORMAT = "password"  # noqa: S105  a word of JSON Schema
"""What JSON Schema calls a value that an editor should not show."""


class Secret:
    """A token, key or password, given as a value or as the path of a file that holds it.

    Its text forms show only stars. `get()` reads the file anew whenever its time stamp, size or inode changed, so
    that a rotated secret is used without a restart.
    """

    __slots__ = ("_looked", "_path", "_seen", "_value")

    def __init__(self, value: str = "", *, path: Path | None = None) -> None:
        self._value = value
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._looked: tuple[int, int, int] | None = None

    @property
    def path(self) -> Path | None:
        """The file that holds it, where it comes from one."""
        return self._path

    def get(self) -> str:
        """The secret without surrounding white space.

        Raises OSError where the file holds no secret (missing, forbidden, empty, no text) and never did.
        """
        if self._path is not None:
            self._refresh(self._path)
        return self._value

    def changed(self) -> bool:
        """Whether the file is another than when this was asked last; False the first time, and without a file."""
        if self._path is None:
            return False
        try:
            now = _look(self._path)
        except OSError:
            return False
        before, self._looked = self._looked, now
        return before is not None and before != now

    def _refresh(self, path: Path) -> None:
        try:
            seen = _look(path)
            if seen != self._seen:
                self._value, self._seen = _read(path), seen
        except OSError:
            # While a rotation replaces the file there may be none for a moment, or an empty one: the old value is
            # still the best one.
            if self._seen is None:
                raise

    def __repr__(self) -> str:
        return "Secret('**********')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        # A file is the same secret whatever it holds by now: whoever has one of them reads it anew.
        return isinstance(other, Secret) and (
            self._path == other._path if self._path or other._path else self._value == other._value
        )

    def __hash__(self) -> int:
        return hash(self._path or self._value)

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "format": SECRET_FORMAT}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def build(value: Any) -> "Secret":
            if isinstance(value, Secret):
                return value
            if not isinstance(value, str) or not value:
                raise ValueError("must be a string that is not empty")
            return cls(value)

        return core_schema.no_info_plain_validator_function(
            build, serialization=core_schema.plain_serializer_function_ser_schema(lambda _: "**********")
        )


def _look(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _read(path: Path) -> str:
    try:
        value = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        # The exception itself would carry the file's bytes along.
        raise OSError(errno.EINVAL, "no UTF-8 text", str(path)) from None
    if not value:
        raise OSError(errno.EINVAL, "empty", str(path))
    return value
