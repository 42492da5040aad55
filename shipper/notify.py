"""What the service manager that started us is told: ready, alive, reloading, stopping, and a line of status.

The protocol is one datagram of `NAME=value` lines to the AF_UNIX socket that $NOTIFY_SOCKET names; "@" stands for the
NUL at the beginning of an abstract one (sd_notify(3), sd_watchdog_enabled(3), as of systemd 252). Where nobody gave us
such a socket, nobody is told; and a manager that doesn't listen stops nothing.
"""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

STATUS_EVERY_SECS = 10.0
"""How often the line of status is looked at; it is sent where it has changed."""
PATIENCE_SECS = 60.0
"""How much longer a start may take each time that we say so."""
SEND_WITHIN_SECS = 1.0
MICRO = 1_000_000


class Notify:
    """The way to the manager. environ: the process's; sleep: for tests."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        pid: int | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._sleep = sleep
        # Half of what the manager allows, and for the process that it means.
        usec, of = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
        meant = of in ("", str(os.getpid() if pid is None else pid))
        self._feed_secs = int(usec) / MICRO / 2 if usec.isdecimal() and meant else 0.0

    def ready(self, status: str) -> None:
        """The start, or a reload, is over."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """A reload begins; `ready` ends it, however it went."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, within_secs: float) -> None:
        """The end begins, and may take so long, whatever the unit's own limit says."""
        self._tell("STOPPING=1", "STATUS=stopping", f"EXTEND_TIMEOUT_USEC={int(within_secs * MICRO)}")

    async def while_starting(self) -> None:
        """Asks for patience until it is cancelled: to look through a large journal takes minutes."""
        while self._address:
            self._tell("STATUS=starting", f"EXTEND_TIMEOUT_USEC={int(PATIENCE_SECS * MICRO)}")
            await self._sleep(PATIENCE_SECS / 3)

    async def while_running(self, alive: Callable[[], Awaitable[None]], status: Callable[[], str]) -> None:
        """Feeds the watchdog and renews the line of status, until it is cancelled.

        alive: returns once all threads that matter have answered. Where one hangs it does not return, and where the
        event loop hangs this doesn't go on; either way the manager hears nothing more.
        """
        told = ""
        while self._address:
            await alive()
            now = status()
            lines = ["WATCHDOG=1"] if self._feed_secs else []
            if now != told:
                lines.append(f"STATUS={now}")
                told = now
            if lines:
                self._tell(*lines)
            await self._sleep(min(self._feed_secs or STATUS_EVERY_SECS, STATUS_EVERY_SECS))

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as way:
            way.settimeout(SEND_WITHIN_SECS)
            way.sendto("\n".join(lines).encode(), self._address)
