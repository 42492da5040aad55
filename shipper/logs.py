"""The daemon's own log: one line a record, always to stderr, never an event's content or a secret.

Values are cut to 1 KiB and escaped to ASCII, so that nothing a stranger wrote can forge a line or reach a terminal.
Other libraries' records keep their first line only: an exception's message may quote what it choked on.
"""

import logging
import sys
import time
from typing import Any, Literal

import structlog

from shipper.delivery import place_of

MAX_VALUE = 1024
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "exception": 40, "critical": 50}
SAME_AFTER_SECS = 60.0
MOST_REMEMBERED = 256


class _Chosen:
    """What the settings say at this moment: loggers are bound once, and a reload changes what they do."""

    def __init__(self) -> None:
        self.level = logging.INFO
        self.render: Any = structlog.processors.JSONRenderer(ensure_ascii=True)

    def leave_out(self, _logger: Any, method: str, record: structlog.typing.EventDict) -> structlog.typing.EventDict:
        if LEVELS[method] < self.level:
            raise structlog.DropEvent
        return record

    def __call__(self, logger: Any, method: str, record: structlog.typing.EventDict) -> Any:
        return self.render(logger, method, record)


_CHOSEN = _Chosen()


def configure(level: str = "info", form: Literal["auto", "console", "json"] = "auto") -> None:
    """Sets up structlog and the standard library's logging. form: auto is console on a terminal, else json.

    Called again, it changes what loggers do that are bound already.
    """
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    _CHOSEN.level = LEVELS[level]
    _CHOSEN.render = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=True)
    )
    structlog.configure(
        processors=[
            _CHOSEN.leave_out,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _cut,
            _CHOSEN,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
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
    """Records of libraries, through our own log; the same one at most once a minute, with how often it came."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        words = str(record.msg).partition("\n")[0][:200]
        said_at, held_back = self._said.get((record.name, words), (-SAME_AFTER_SECS, 0))
        now = time.monotonic()
        if now - said_at < SAME_AFTER_SECS:
            self._said[record.name, words] = (said_at, held_back + 1)
            return
        if len(self._said) >= MOST_REMEMBERED:
            self._said.clear()
        self._said[record.name, words] = (now, 0)
        log = structlog.get_logger().bind(logger=record.name)
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            log = log.bind(error=place_of(error))
        if isinstance(error, OSError) and error.strerror:
            log = log.bind(note=error.strerror)
        if held_back:
            log = log.bind(times=held_back + 1)
        say = log.error if record.levelno >= logging.ERROR else log.warning
        say(words)
