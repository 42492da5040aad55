"""`shipper export`."""

from pathlib import Path
from typing import Any

import click

from shipper.commands import config_option, fail, run_async, settings_of, sources_of, who
from shipper.commands.replay import accept_dead_option, rate_option
from shipper.commands.times import Bound, BoundType
from shipper.exit_status import USAGE


@click.command()
@config_option
@click.option("--source", default="", help="Which source [else the only one].")
@click.option("--from", "since", type=BoundType(), help="Events of this time or later; an age like 24h; or earliest.")
@click.option("--until", type=BoundType(), help="Events before this time, or older than this age [else until now].")
@click.option("--query", help="Auth0: what a search finds, by time of date. '' finds everything. See below.")
@click.option("--user", default="", help="Only of the user with this id.")
@click.option("--application", default="", help="Logto: only of the application with this id.")
@click.option("--key", default="", help="Logto: only with this key, like ExchangeTokenBy.ClientCredentials.")
@click.option("-o", "--output", default="", help="The file, one event a line; - for stdout [else stdout].")
@click.option("--to", default="", help="A sink, in place of a file: beside its lanes, as `replay` does it.")
@click.option(
    "--format", "format_", type=click.Choice(["envelope", "raw", "ecs", "ocsf"]), help="Of a line [else envelope]."
)
@click.option("--sort", default="", help="FIELD:1 or FIELD:-1, with --query or --user [else date:1].")
@click.option("--fields", default="", help="With --query: only these fields of each event, and _id; with commas.")
@click.option(
    "--exclude-fields", "excluded", default="", help="With --query: without these; Auth0 drops most others, too."
)
@click.option("--page", type=click.IntRange(min=0), help="With --query or --user: this page alone, counted from 0.")
@click.option("--per-page", default=100, type=click.IntRange(1, 100), show_default=True, help="Events in a page.")
@click.option("--include-totals", "totals", is_flag=True, help="With --query or --user: say what the tenant counts.")
@rate_option
@accept_dead_option
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    help="Where the progress is kept [else beside the file, or in state_dir].",
)
def export(config_file: Path | None, source: str, since: Bound | None, until: Bound | None, **typed: Any) -> None:
    """Take events that the tenant still has into a file, to stdout, or to a sink. They are personal data.

    Touches no lane and no place of the daemon's, and needs none to run; both share the tenant's rate limit.
    Interrupted, the same command goes on where it was: nothing is missing, and nothing twice in a file. A file that
    is there already is never written over. Into a sink it is a replay, with a replay's rules. Exits with 1 where it did
    not come to its end, or events could not be had or were refused.

    \b
      shipper export --from 24h -o day.ndjson                        by the tenant's own order of events
      shipper export --from earliest -o all.ndjson                   all that it keeps
      shipper export --query 'type:fp AND ip:"203.0.113.7"'          a search, in Auth0's query language
      shipper export --query 'user_name:jane*' --from 7d --sort date:-1
      shipper export --user 'auth0|5f7c8ec7c33c6c004bbafe82' -o user.ndjson
      shipper export --from 2026-11-20T08:00:00Z --until 2026-11-20T12:00:00Z --to siem

    In a query, quotation marks make a value exact: description:"Username invalid". Without them a value is one word, in
    which * stands for anything. A search finds 1,000 events at most: one that finds more is parted by time. It goes by
    an event's date, and what is indexed later than it is read is not in it; --from alone goes by the order in which
    events were indexed, and leaves nothing out. Logto has no search: it goes by time, --user, --application and --key.
    """
    _expect_sense(since, until, typed)
    settings = settings_of(config_file)
    chosen = sources_of(settings, source)
    if len(chosen) != 1:
        fail(USAGE, f"say which source: --source {' | '.join(chosen) or 'NAME'}")
    from shipper import logs
    from shipper.export.session import Request, times_in_words
    from shipper.export.session import export as exported
    from shipper.sources.selection import EVER, Selection, SelectionError

    logs.configure("warning", settings.log.format)
    chosen_of = ("query", "user", "application", "key", "sort", "page", "per_page", "totals")
    selection = Selection(
        **{name: typed[name] for name in chosen_of},
        fields=_names(typed["fields"]),
        excluded=_names(typed["excluded"]),
    )
    request = Request(
        source=next(iter(chosen)),
        selection=selection,
        since=since.at_ms if since else EVER[0],
        until=until.at_ms if until else EVER[1],
        times=times_in_words(since.text if since else "", until.text if until else ""),
        output=typed["output"] or "-",
        to=typed["to"],
        format=typed["format_"] or "envelope",
        resume=typed["resume"],
        rate=typed["rate"],
        accept_dead=typed["accept_dead"],
        who=who(),
    )

    async def work() -> int:
        try:
            return await exported(settings, request)
        except SelectionError as error:
            fail(USAGE, str(error))

    run_async(work)


def _expect_sense(since: Bound | None, until: Bound | None, typed: dict[str, Any]) -> None:
    """Options that don't go together end the program."""
    if since and until and since.at_ms >= until.at_ms:
        fail(USAGE, "--from must be before --until")
    if since is None and typed["query"] is None and not (typed["user"] or typed["application"] or typed["key"]):
        fail(USAGE, "say which events: --from TIME (or earliest), --query or --user")
    if typed["fields"] and typed["excluded"]:
        fail(USAGE, "--fields or --exclude-fields: one of them")
    if not typed["to"]:
        if typed["rate"] or typed["accept_dead"]:
            fail(USAGE, "--rate and --accept-dead go with --to")
        if typed["resume"] and typed["output"] in ("", "-"):
            fail(USAGE, "--resume goes with --output FILE or --to SINK: nobody knows what a pipe has taken")
        return
    if typed["output"]:
        fail(USAGE, "--output or --to: one of them")
    if typed["format_"]:
        fail(USAGE, "--format is for files: a sink has its own")
    if typed["fields"] or typed["excluded"]:
        fail(USAGE, "--to takes whole events: --fields and --exclude-fields go with --output")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
