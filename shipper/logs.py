"""The daemon's own log: one line a record, always to stderr, never an event's content or a secret.

Values are cut to 1 KiB and escaped to ASCII, so that nothing a stranger wrote can forge a line or reach a terminal.
Other libraries' records keep their first line only: an exception's message may quote what it choked on.
"""

import logging
import sys
from typing import Any, Literal

import structlog

from shipper.delivery import place_of

MAX_VALUE = 1024


def configure(level: str = "info", form: Literal["auto", "console", "json"] = "auto") -> None:
    """Sets up structlog and the standard library's logging. form: auto is console on a terminal, else json."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=True)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _cut,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Foreign()], level=logging.WARNING, force=True)


def _cut(_logger: Any, _method: str, record: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for key, value in record.items():
        if isinstance(value, str):
            printable = value if value.isascii() and value.isprintable() else ascii(value)[1:-1]
            record[key] = printable[:MAX_VALUE]
    return record


class _Foreign(logging.Handler):
    """Records of libraries, through our own log."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        log = structlog.get_logger().bind(logger=record.name)
        say = log.error if record.levelno >= logging.ERROR else log.warning
        say(str(record.msg).partition("\n")[0][:200], **({"error": place_of(error)} if error is not None else {}))
