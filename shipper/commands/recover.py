"""`shipper checkpoint recover`: the state directory is lost, and an archive is what is left."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from shipper.commands import config_option, fail, run_async, settings_of, who
from shipper.exit_status import OK, UNDONE, USAGE

if TYPE_CHECKING:
    from shipper.config import Settings

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86_400.0}


@click.command("recover")
@click.option("--from-sink", "sink", required=True, help="The sink whose destination can be read back.")
@click.option("--overlap", default="24h", show_default=True, help="The other sinks get so much again: 30m, 24h, 7d.")
@config_option
def recover(sink: str, overlap: str, config_file: Path | None) -> None:
    """Go on from what an archive holds, with an empty state directory. The daemon must not be running.

    The archive's own lane goes on right behind what is there; the sources are read again from --overlap before that,
    so that the other sinks get what they may not have had, and some events twice. What the tenant indexed late, just
    before the loss, reaches the archive by `shipper verify --repair`.
    """
    secs = _secs(overlap)
    settings = settings_of(config_file)
    run_async(lambda: _recover(settings, sink, secs))


def _secs(overlap: str) -> float:
    if not overlap[:-1].isdecimal() or overlap[-1] not in _UNITS:
        fail(USAGE, f"{overlap[:20]!r} is no time: say 30m, 24h or 7d")
    return int(overlap[:-1]) * _UNITS[overlap[-1]]


async def _recover(settings: "Settings", name: str, overlap_secs: float) -> int:
    from shipper.archive import Archive, Damaged
    from shipper.ask import expect_owner
    from shipper.journal.sqlite import SqliteJournal
    from shipper.recovery import begin_behind, expect_journal, places_in
    from shipper.sink import Rejected, Unavailable, load_sink_type, sink_types

    config = settings.sinks.get(name)
    if config is None:
        fail(USAGE, f"the configuration has no sinks.{name[:40]}")
    sink = load_sink_type(sink_types()[config.type])(config)
    if not isinstance(sink, Archive):
        fail(USAGE, f"sinks.{name} ({config.type}) can't be read back: name a sink of type s3")
    sources = {
        source: part.tenant_key
        for source, part in settings.sources.items()
        if part.enabled and (not config.from_sources or source in config.from_sources)
    }
    expect_owner(settings.state_dir, make=True)
    expect_journal(settings.state_dir)
    await sink.open()
    try:
        resumed = await places_in(sink, sources)
    except (Unavailable, Rejected, Damaged) as failure:
        click.echo(f"shipper: sinks.{name}: {failure}", err=True)
        return UNDONE
    finally:
        await sink.close()
    journal = await SqliteJournal.open(settings.state_dir, max_bytes=settings.journal.max_bytes)
    try:
        await begin_behind(journal, resumed, name, sources, overlap_secs, who())
    finally:
        await journal.close()
    for source in sources:
        if source in resumed:
            place = resumed[source]
            click.echo(f"{source}: sinks.{name} goes on behind {place.after or 'the hour of ' + place.stored.key}")
        else:
            click.echo(f"{source}: nothing of it is there; it begins at its start")
    return OK
