"""`shipper check`: what can be known before running, as a table; nothing is written anywhere."""

import asyncio
from collections.abc import Awaitable, Sized
from typing import Any

from rich.console import Console
from rich.table import Table

from shipper.config import Settings
from shipper.delivery import place_of
from shipper.reasons import WHAT_TO_DO, Reason
from shipper.sink import Fatal, Rejected, SinkConfig, Unavailable, load_sink_type, sink_types
from shipper.sources import SourceConfig
from shipper.sources.kinds import kind_of
from shipper.sources.trouble import Trouble
from shipper.wanted import wanted

PROBE_SECS = 30.0


async def check_all(settings: Settings, *, offline: bool) -> int:
    """Tries everything side by side and prints a table. Returns the exit status: 1 where something failed."""
    names = [f"sources.{name}" for name in settings.sources] + [f"sinks.{name}" for name in settings.sinks]
    table = Table("what", "result", "details", title=None)
    in_use = wanted(settings)
    doubts = [f"sinks.{name}.filter: {doubt}" for name in in_use.sinks for doubt in in_use.doubts(name)]
    taken = {source for source, _ in in_use.lanes}
    doubts += [
        f"sources.{name}: no enabled sink takes what is read there" for name in in_use.sources if name not in taken
    ]
    table.add_row(
        "settings",
        "ok",
        "\n".join([f"{_counted(settings.sources, 'source')}, {_counted(settings.sinks, 'sink')}", *doubts]),
    )
    failed = False
    if not offline:
        tries = [_source(name, config) for name, config in settings.sources.items()]
        tries += [_sink(config) for config in settings.sinks.values()]
        for name, (fine, words) in zip(names, await asyncio.gather(*map(_verdict, tries)), strict=True):
            table.add_row(name, "ok" if fine else "FAILED", words)
            failed = failed or not fine
    Console(width=None if Console().is_terminal else 200, highlight=False).print(table)
    return int(failed)


async def _source(name: str, config: SourceConfig) -> str:
    if not config.enabled:
        return "disabled"
    warnings = _Warnings()
    return "\n".join([await kind_of(config).check(name, warnings), *warnings.lines])


async def _sink(config: SinkConfig) -> str:
    if not config.enabled:
        return "disabled"
    sink = load_sink_type(sink_types()[config.type])(config)
    await sink.open()
    try:
        return await sink.probe()
    finally:
        await sink.close()


async def _verdict(attempt: Awaitable[str]) -> tuple[bool, str]:
    try:
        async with asyncio.timeout(PROBE_SECS):
            return True, await attempt
    except (Trouble, Unavailable, Rejected, Fatal) as error:
        return False, _advice(error.reason, error.note)
    except TimeoutError:
        return False, _advice("timeout", f"no result in {PROBE_SECS:g} s")
    except OSError as error:
        return False, _advice("io", error.strerror or type(error).__name__)
    except Exception as error:  # noqa: BLE001  a plugin's bug is a failed check, told by type and place
        return False, _advice("bug", place_of(error))


def _advice(reason: Reason, note: str) -> str:
    return f"{reason}: {note}\n{WHAT_TO_DO[reason]}"


class _Warnings:
    """Takes what would be logged, for the table."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warning(self, event: str, **_values: Any) -> None:
        self.lines.append(event)


def _counted(of: Sized, what: str) -> str:
    return f"{len(of)} {what}{'' if len(of) == 1 else 's'}"
