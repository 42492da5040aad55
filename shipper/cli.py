"""The command line: small commands here, the others in `commands`. What a command needs is loaded when it is used."""

import gc
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from shipper.commands import config_option, fail, run_async, settings_of, stdout_failed
from shipper.commands.audit import audit
from shipper.commands.backup import backup
from shipper.commands.dead import dead
from shipper.commands.export import export
from shipper.commands.get import get
from shipper.commands.places import checkpoint, forget, rename
from shipper.commands.recover import recover
from shipper.commands.reload import reload
from shipper.commands.replay import replay
from shipper.commands.status import retry, status
from shipper.commands.tail import tail
from shipper.commands.types import types
from shipper.commands.verify import verify
from shipper.exit_status import IO_FAILED, USAGE, WRONG_CONFIG

LARGE_BLOCK_BYTES = 256 * 1024

__all__ = ["fail", "main", "run_async", "settings_of"]


class _Commands(click.Group):
    """With one clear line for output that can't be written, whichever command's it is."""

    def invoke(self, ctx: click.Context) -> Any:
        if sys.stdout is None:
            # Its number would be that of the next file that is opened, and what is printed would go there.
            fail(IO_FAILED, "stdout is closed: let it go somewhere, at least to /dev/null")
        try:
            done = super().invoke(ctx)
            sys.stdout.flush()
        except OSError as error:
            raise SystemExit(stdout_failed(error)) from None
        return done


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("identity-log-shipper"), prog_name="shipper")
def main() -> None:
    """Ships a tenant's identity logs to where people look at them, with nothing lost.

    \b
    Try it:      shipper demo
    Set it up:   shipper check --config FILE
    Run it:      shipper run --config FILE
    """


@main.command()
@config_option
@click.option("--once", is_flag=True, help="End when everything that is there now is delivered; 1 if something waits.")
@click.option("--recover", is_flag=True, help="Begin a lost or damaged journal anew from what all lanes had settled.")
@click.option("--fresh", is_flag=True, help="Begin anew, whatever was before.")
def run(config_file: Path | None, *, once: bool, recover: bool, fresh: bool) -> None:
    """Read, keep, deliver: the daemon."""
    # A reload that is asked for from here on is kept until the daemon can do it.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    if recover and fresh:
        fail(USAGE, "--recover goes on with what was, --fresh does not: say one of them")
    settings = settings_of(config_file)
    from shipper import logs
    from shipper.app import App

    logs.configure(settings.log.level, settings.log.format)
    # What passes through makes hardly any cycles, and looking for some after every 700 objects costs one part in
    # twenty of all work.
    gc.set_threshold(20_000, 20, 50)
    _give_large_blocks_back()
    run_async(App(settings, os.environ, once=once, recover=recover, fresh=fresh).run)


def _give_large_blocks_back() -> None:
    """Has glibc return batches and bodies to the system when they are done with, on whatever thread that was.

    By itself it takes the size of what was freed for a usual one, keeps such blocks for each thread, and a process with
    many sources holds several times what it uses. mallopt(3), M_MMAP_THRESHOLD.
    """
    with suppress(ImportError, OSError, AttributeError):  # another C library does without
        import ctypes

        ctypes.CDLL(None).mallopt(-3, LARGE_BLOCK_BYTES)


@main.command()
@config_option
@click.option("--offline", is_flag=True, help="Only the settings; connect nowhere.")
def check(config_file: Path | None, *, offline: bool) -> None:
    """Try the settings, each tenant's token, scopes and one page, and each destination."""
    settings = settings_of(config_file)
    from shipper.check import check_all

    run_async(lambda: check_all(settings, offline=offline))


@main.command()
def sinks() -> None:
    """The kinds of sinks that are installed."""
    from rich.console import Console
    from rich.table import Table

    from shipper.config.kinds import not_loaded
    from shipper.sink import load_sink_type, sink_types

    table = Table("type", "what", "package")
    for name, entry in sink_types().items():
        try:
            words = (load_sink_type(entry).__doc__ or "").strip().partition("\n")[0]
        except Exception as error:  # noqa: BLE001  a stranger's package may fail in any way while it is imported
            words = not_loaded(entry, error)
        table.add_row(name, words, entry.dist.name if entry.dist else "")
    Console().print(table)


@main.group("config")
def config_group() -> None:
    """The configuration."""


@config_group.command("show")
@config_option
def config_show(config_file: Path | None) -> None:
    """The settings in effect, defaults included, secrets masked."""
    settings = settings_of(config_file)
    from shipper.config import masked, to_toml

    click.echo(to_toml(masked(settings)), nl=False)


@config_group.command("schema")
def config_schema() -> None:
    """The JSON Schema of the configuration file, with all installed kinds of sinks, for editors."""
    import json

    from shipper.config import schema

    try:
        click.echo(json.dumps(schema(), indent=2))
    except ImportError as error:
        fail(WRONG_CONFIG, f"config schema: {error}")


@main.command()
@click.option("--forever", is_flag=True, help="Go on until interrupted.")
def demo(*, forever: bool) -> None:
    """Show the promise in under a minute: a tenant, two destinations, an outage, a kill -9, nothing missing."""
    from shipper.demo import Demo

    raise SystemExit(Demo(forever=forever).run())


def _simulate_options(command: Callable[..., None]) -> Callable[..., None]:
    from shipper.simulator.options import described

    names = {"events_file": "--events", "latency_secs": "--latency"}
    for field, (default, text) in reversed(described().items()):
        flag = names.get(field, f"--{field.replace('_', '-')}")
        if isinstance(default, bool):
            flag = f"{flag}/--no-{field.replace('_', '-')}"
        option = click.option(flag, field, default=default, show_default=True, help=text)
        command = option(command)
    return command


@main.command()
@_simulate_options
def simulate(**options: Any) -> None:
    """A simulated Auth0 tenant, to try things and to load-test destinations."""
    from shipper.simulator.server import main as serve

    try:
        serve(**options)
    except (ValueError, OSError) as wrong:
        fail(USAGE, f"simulate: {wrong}")


for command in (
    status,
    retry,
    dead,
    checkpoint,
    verify,
    replay,
    export,
    forget,
    rename,
    audit,
    backup,
    types,
    get,
    reload,
    tail,
):
    main.add_command(command)
checkpoint.add_command(recover)

if __name__ == "__main__":
    sys.exit(main())
