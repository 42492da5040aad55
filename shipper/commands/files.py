"""Files that a command makes: new, private, and whole or not there."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from shipper.journal import JournalBrokenError, UnknownNameError


@contextmanager
def new_file(name: str) -> Iterator[IO[bytes]]:
    """Takes the bytes of a file that is not there yet (0600), or of stdout for "-".

    Raises UnknownNameError where it is there, JournalBrokenError where it can't be written; then nothing is left of it.
    """
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(name)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        raise UnknownNameError("operator", f"{path}: is there already: name a new file") from None
    except OSError as error:
        raise JournalBrokenError("io", f"{path}: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            yield file
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        path.unlink()
        raise JournalBrokenError("io", f"{path}: {error.strerror}") from None
    except BaseException:
        path.unlink()
        raise
