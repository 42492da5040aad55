"""A service manager's ear: the socket that $NOTIFY_SOCKET names, and what came through it."""

import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Self


class Manager:
    """Listens, like systemd, on a datagram socket. address: a path, or "@" and a name for an abstract one."""

    def __init__(self, address: Path | str) -> None:
        self.address = str(address)
        self.heard: list[list[str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address.replace("@", "\0", 1) if self.address.startswith("@") else self.address)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while datagram := self._socket.recv(65_536):
            self.heard.append(datagram.decode().split("\n"))

    def values(self, name: str) -> list[str]:
        """Everything that was said under a name, in its order."""
        lines = (line.partition("=") for lines in list(self.heard) for line in lines)
        return [value for found, _, value in lines if found == name]
