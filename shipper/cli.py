"""The commands. Each is a few lines: what it does stands in the module that it calls, loaded when it is used."""

import asyncio
import gc
import os
import sys
from collections.abc import Callable, Coroutine
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from shipper.exit_status import BUG, IN_USE, IO_FAILED, USAGE, WRONG_CONFIG

if TYPE_CHECKING:
    from shipper.config import Settings

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="The configuration [else $SHIPPER_CONFIG, else /etc/shipper/config.toml].",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("identity-log-shipper"), prog_name="shipper")
def main() -> None:
    """Ships a tenant's identity logs to where people look at them, with nothing lost.

    \b
    Try it:      shipper demo
    Set it up:   shipper check --config FILE
    Run it:      shipper run --config FILE
    """


def fail(status: int, *lines: str) -> NoReturn:
    """Ends with a status, after one clear line a problem on stderr."""
    for line in lines:
        click.echo(f"shipper: {line}", err=True)
    raise SystemExit(status)


def settings_of(config_file: Path | None, *, say: bool = True) -> "Settings":
    """The settings, or the end of the program with every problem named."""
    from shipper.config import ConfigError, load

    try:
        settings = load(config_file, os.environ)
    except ConfigError as error:
        fail(WRONG_CONFIG, str(error))
    if say:
        click.echo(f"shipper: using {settings.file}", err=True)
    return settings


def run_async(work: Callable[[], Coroutine[Any, Any, int]]) -> NoReturn:
    """Runs the coroutine to its exit status, with the journal's errors as one line each, and ends the process."""
    from shipper.app import leave
    from shipper.delivery import place_of
    from shipper.journal import JournalError, JournalInUseError, UnknownNameError, WrongTenantError

    async def to_the_end() -> None:
        try:
            status = await work()
        except JournalInUseError as error:
            click.echo(f"shipper: {error}", err=True)
            status = IN_USE
        except WrongTenantError as error:
            click.echo(f"shipper: {error}", err=True)
            status = WRONG_CONFIG
        except UnknownNameError as error:
            click.echo(f"shipper: {error}", err=True)
            status = USAGE
        except JournalError as error:
            click.echo(f"shipper: {error}", err=True)
            status = IO_FAILED
        except Exception as error:  # noqa: BLE001  the last line of defence: type and place, never a message
            click.echo(f"shipper: a bug: {place_of(error)}", err=True)
            status = BUG
        leave(status)

    asyncio.run(to_the_end())
    raise SystemExit(BUG)


@main.command()
@config_option
@click.option("--once", is_flag=True, help="End when everything that is there now is delivered; 1 if something waits.")
@click.option("--recover", is_flag=True, help="Begin a lost or damaged journal anew from what all lanes had settled.")
@click.option("--fresh", is_flag=True, help="Begin anew, whatever was before.")
def run(config_file: Path | None, *, once: bool, recover: bool, fresh: bool) -> None:
    """Read, keep, deliver: the daemon."""
    if recover and fresh:
        fail(USAGE, "--recover goes on with what was, --fresh does not: say one of them")
    settings = settings_of(config_file)
    from shipper import logs
    from shipper.app import App

    logs.configure(settings.log.level, settings.log.format)
    # What passes through makes hardly any cycles, and looking for some after every 700 objects costs one part in
    # twenty of all work.
    gc.set_threshold(20_000, 20, 50)
    run_async(App(settings, once=once, recover=recover, fresh=fresh).run)


@main.command()
@config_option
@click.option("--offline", is_flag=True, help="Only the settings; connect nowhere.")
def check(config_file: Path | None, *, offline: bool) -> None:
    """Try the settings, each tenant's token, scopes and one page, and each destination."""
    settings = settings_of(config_file)
    from shipper.check import check_all

    run_async(lambda: check_all(settings, offline=offline))


@main.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="The whole status as JSON.")
def status(config_file: Path | None, *, as_json: bool) -> None:
    """How the running daemon is doing; 1 when something is wrong."""
    from shipper.ask_old import print_status

    raise SystemExit(print_status(settings_of(config_file, say=not as_json), as_json=as_json))


@main.command()
def sinks() -> None:
    """The kinds of sinks that are installed."""
    from rich.console import Console
    from rich.table import Table

    from shipper.sink import load_sink_type, sink_types

    table = Table("type", "what", "package")
    for name, entry in sink_types().items():
        words = (load_sink_type(entry).__doc__ or "").strip().partition("\n")[0]
        table.add_row(name, words, entry.dist.name if entry.dist else "")
    Console().print(table)


@main.command()
@click.argument("name", default="")
@config_option
@click.option("--accept-dead", default=0, help="So many more refused events are right: make them dead letters.")
def retry(name: str, config_file: Path | None, accept_dead: int) -> None:
    """Make what waits or is held try at once: the source or sink NAME, or all."""
    from shipper.ask_old import retry as ask

    raise SystemExit(ask(settings_of(config_file), name, accept_dead))


@main.command()
@click.argument("name")
@config_option
@click.option("--yes", is_flag=True, help="Do it.")
def forget(name: str, config_file: Path | None, *, yes: bool) -> None:
    """Give up what waits for a sink, or a source's place and all its events: sinks.NAME or sources.NAME.

    It must not be in use. What is given up is counted, and kept in the audit list.
    """
    kind, _, label = name.rpartition(".")
    if kind not in ("sinks", "sources"):
        fail(USAGE, f"say sinks.{label[:40]} or sources.{label[:40]}")
    if not yes:
        fail(USAGE, "events that wait for it are given up for good: say --yes")
    settings = settings_of(config_file)
    from shipper.ask_old import forget as ask

    run_async(lambda: ask(settings, kind.removesuffix("s"), label))


@main.command()
@click.argument("old")
@click.argument("new")
@config_option
def rename(old: str, new: str, config_file: Path | None) -> None:
    """Carry the places and dead letters of the sink OLD to the name NEW. Neither may be in use."""
    settings = settings_of(config_file)
    from shipper.ask_old import rename as ask

    run_async(lambda: ask(settings, old, new))


@main.group()
def dead() -> None:
    """Dead letters: events that a sink will never take, kept with the reason."""


@dead.command("list")
@config_option
@click.option("--source", default="", help="Only of this source.")
@click.option("--sink", default="", help="Only of this sink.")
@click.option("--reason", default="", help="Only for this reason.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def dead_list(config_file: Path | None, source: str, sink: str, reason: str, *, as_json: bool) -> None:
    """What was given up, and why."""
    settings = settings_of(config_file, say=not as_json)
    from shipper.ask_old import print_dead_letters

    wanted = {"source": source, "sink": sink, "reason": reason}
    run_async(lambda: print_dead_letters(settings, wanted, as_json=as_json))


@main.group()
def checkpoint() -> None:
    """Where a source resumes."""


@checkpoint.command("show")
@config_option
def checkpoint_show(config_file: Path | None) -> None:
    """Where each source resumes. The daemon must not be running."""
    settings = settings_of(config_file)
    from shipper.ask_old import print_checkpoints

    run_async(lambda: print_checkpoints(settings))


@checkpoint.command("set")
@click.argument("source")
@click.argument("log_id")
@config_option
@click.option("--yes", is_flag=True, help="Do it.")
def checkpoint_set(source: str, log_id: str, config_file: Path | None, *, yes: bool) -> None:
    """Make SOURCE resume behind LOG_ID. The daemon must not be running.

    Going back repeats events, going forward steps over some for good; either way it is kept in the audit list.
    """
    from shipper.sources.start import is_log_id

    if not is_log_id(log_id):
        fail(USAGE, f"{log_id[:80]!r} is no log_id: 56 digits, or 24 hexadecimal ones")
    if not yes:
        fail(USAGE, "this steps over events, or repeats them: say --yes")
    settings = settings_of(config_file)
    from shipper.ask_old import set_checkpoint

    run_async(lambda: set_checkpoint(settings, source, log_id))


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

    click.echo(json.dumps(schema(), indent=2))


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


if __name__ == "__main__":
    sys.exit(main())
