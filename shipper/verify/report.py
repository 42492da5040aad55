"""What a person sees of a verification."""

from rich.console import Console
from rich.table import Table

from shipper.tally import HOUR_MS
from shipper.verify.compare import Difference
from shipper.verify.run import Findings, hour_text


def report(found: Findings, console: Console) -> None:
    """Prints one source's findings: a table of the hours that differ, and lines for all else."""
    if found.differences:
        table = Table("hour", "compared", "expected", "found", "missing", "extra", "twice", "the first of them")
        for one in found.differences:
            table.add_row(*_row(one))
        console.print(table)
    for line in lines_of(found):
        console.print(line, soft_wrap=True)


def lines_of(found: Findings) -> list[str]:
    """Everything but the table."""
    lines = [f"damaged: {text}" for text in found.damaged]
    lines += [f"not ours: {key}" for key in found.foreign]
    lines += [f"the chain of digests: {text}" for text in found.broken_chain]
    lines += found.notes
    if found.left_out:
        which = "dead letters, filtered out, of before its lane began, or given up"
        lines.append(f"{found.left_out} more events of these hours were not for it to hold: {which}")
    if found.repeated:
        lines.append(f"{found.repeated} events are there once more, as the ledger says: a checkpoint was set back")
    if found.open:
        lines.append(f"still open, not compared: {spans(found.open)}")
    if found.unknown:
        lines.append(f"before the journal's ledger, nothing to compare with: {spans(found.unknown)}")
    verdict = ("all is there" if found.repeated else "all is there, once") if found.clean else _verdict(found)
    return [*lines, f"{found.source}: {found.hours} hours with {found.events} events compared: {verdict}"]


def spans(hours: list[int]) -> str:
    """Hours in a row as one."""
    parts: list[tuple[int, int]] = []
    for hour in sorted(hours):
        if parts and parts[-1][1] == hour - 1:
            parts[-1] = (parts[-1][0], hour)
        else:
            parts.append((hour, hour))
    return ", ".join(
        hour_text(first) if first == last else f"{hour_text(first)} to {hour_text(last)}" for first, last in parts
    )


def _row(one: Difference) -> tuple[str, ...]:
    more = "≥ " if one.at_least else ""
    names = "; ".join(f"{kind}: {' '.join(ascii(id_)[1:-1] for id_ in ids)}" for kind, ids in one.names.items())
    counts = (f"{more if kind != 'twice' and n else ''}{n}" for kind, n in
              (("missing", one.missing), ("extra", one.extra), ("twice", one.twice)))  # fmt: skip
    return (hour_text(one.hour), one.what, str(one.expected), str(one.found), *counts, names)


def _verdict(found: Findings) -> str:
    missing, extra, twice = (
        sum(getattr(one, kind) for one in found.differences) for kind in ("missing", "extra", "twice")
    )
    return f"{missing} missing, {extra} extra, {twice} twice in {len({one.hour for one in found.differences})} hours"


def hours_of(since_ms: int, until_ms: int) -> range:
    """The whole hours that a range touches."""
    return range(since_ms // HOUR_MS, -(-until_ms // HOUR_MS))
