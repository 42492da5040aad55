"""Files beside the settings: where a relative path leads, and secrets that are kept in files of their own."""

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shipper.config.problems import Key, Problems, printable
from shipper.secret import Secret

FOLDER = "secrets_"
"""What systemd puts before the names of the files of a folder that it loads as `LoadCredential=secrets:FOLDER`."""
MAX_SECRET_BYTES = 64 * 1024
"""No token or key is longer; it keeps a wrong path, say to a disk image, from being read into memory."""
SHORTEST_SECRET = 24
"""A name that is as long, and no path, may be the secret itself."""

_STAND_IN = Secret("-" * 32)
"""In the place of a secret with a problem, so that the same mistake isn't reported again as a missing secret."""


class Files:
    """Resolves paths and secrets: nearest wins, that is variable, then systemd credential, then file.

    directory: the configuration file's. credentials: $CREDENTIALS_DIRECTORY, where systemd puts what
    `LoadCredential=` names (systemd.exec(5)). overlay: what the environment sets.
    """

    def __init__(self, directory: Path, credentials: Path | None, overlay: Mapping[Key, str], out: Problems) -> None:
        self._directory = directory
        self._credentials = credentials
        self._overlay = overlay
        self._out = out

    def resolve(self, text: str) -> Path:
        """An absolute path: a relative one is a credential where there is one of that name, else beside the file."""
        return self._credential(text) or self._directory / text

    def _credential(self, name: str) -> Path | None:
        """systemd's copy of a secret of this name, loaded by itself or with its whole folder."""
        if self._credentials is None:
            return None
        paths = (self._credentials / name, self._credentials / f"{FOLDER}{name}")
        return next((path for path in paths if _is_there(path)), None)

    def secret(self, key: Key, table: Mapping[str, Any]) -> Secret | None:
        """The secret `key`, of which `table` is the part of the file around it; None where nobody gives one."""
        name, file_name = key[-1], f"{key[-1]}_file"
        file_key = (*key[:-1], file_name)
        both_set = key in self._overlay and file_key in self._overlay
        if both_set or (name in table and file_name in table):
            which = "the environment sets" if both_set else "there are"
            self._out.add(key, f"{which} both {name} and {file_name}: keep one of them")
            return _STAND_IN
        if key in self._overlay:
            return self._plain(key, self._overlay[key])
        if file_key in self._overlay:
            return self._from_file(file_key, self._overlay[file_key])
        if (credential := self._credential(".".join(key))) is not None:
            return self._read(key, credential)
        if name in table:
            return self._plain(key, table[name])
        return self._from_file(file_key, table[file_name]) if file_name in table else None

    def _plain(self, key: Key, value: object) -> Secret:
        if not isinstance(value, str):
            self._out.add(key, "must be a string in quotes")
        elif not value.strip():
            self._out.add(key, f"is empty: give the secret, or take the line out and use {key[-1]}_file")
        else:
            return Secret(value.strip())
        return _STAND_IN

    def _from_file(self, file_key: Key, value: object) -> Secret:
        if isinstance(value, str) and value:
            # Who puts the secret itself where its file belongs must not find it in a log.
            shown = printable(str(self.resolve(value))) if "/" in value or len(value) < SHORTEST_SECRET else "it names"
            return self._read(file_key, self.resolve(value), shown)
        self._out.add(file_key, "must be the path of a file, in quotes")
        return _STAND_IN

    def _read(self, key: Key, path: Path, shown: str = "") -> Secret:
        problem = _unusable(path)
        if problem is None:
            secret = Secret(path=path)
            try:
                secret.get()
            except OSError as error:
                problem = f"can't be used ({error.strerror}): it must hold the secret alone, readable for this user"
            else:
                return secret
        self._out.add(key, f"the file {shown or printable(str(path))} {problem}")
        return _STAND_IN


def _is_there(path: Path) -> bool:
    try:
        return not stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _unusable(path: Path) -> str | None:
    """What keeps this path from being a secret's file, before anything is read: a pipe would block, a disk flood."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except (OSError, ValueError) as error:
        return f"can't be used ({getattr(error, 'strerror', None) or 'no valid path'}): check the path, owner and mode"
    if not stat.S_ISREG(found.st_mode):
        return "is no regular file"
    if found.st_size > MAX_SECRET_BYTES:
        return f"has more than {MAX_SECRET_BYTES} bytes, which no secret has"
    return None
