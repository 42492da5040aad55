"""What one table alone can't know: names that refer to each other, tenants, and files and addresses."""

from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from shipper.config.problems import Key, Problems, but, nearest, printable, shown
from shipper.sink import SinkConfig
from shipper.sources import SourceConfig
from shipper.sources.start import check_start
from shipper.tls import Tls

Sources = Mapping[str, SourceConfig]
Sinks = Mapping[str, SinkConfig]
Named = Mapping[str, Collection[str]]


def check_together(sources: Sources, sinks: Sinks, named: Named, out: Problems) -> None:
    """Notes what is wrong between the tables that are right by themselves. named: also those that are not."""
    _one_tenant_once(sources, out)
    for name, sink in sinks.items():
        _from_sources(name, sink, sources, named["sources"], out)
        taken = [sources[source] for source in sink.from_sources or sources if source in sources]
        try:
            check_start(sink.start, log_ids=all(source.ordered_ids for source in taken))
        except ValueError as error:
            out.add(
                ("sinks", name, "start"), str(error) + (f" (here: {value})" if (value := shown(sink.start)) else "")
            )
    for part, built in (("sources", sources), ("sinks", sinks)):
        for name, config in built.items():
            _files_and_proxy((part, name), config, out)
        if len(built) == len(named[part]) and not any(config.enabled for config in built.values()):
            out.add((part,), f"none is enabled: add [{part}.NAME], or take enabled = false out of one")


def _one_tenant_once(sources: Sources, out: Problems) -> None:
    first: dict[str, str] = {}
    for name, source in sources.items():
        tenant = source.tenant_key
        if tenant and tenant in first:
            what = f"reads the same tenant as [sources.{first[tenant]}] ({tenant})"
            out.add(("sources", name), f"{what}: remove one of them; a tenant has one place in the journal")
        first.setdefault(tenant, name)


def _from_sources(name: str, sink: SinkConfig, sources: Sources, named: Collection[str], out: Problems) -> None:
    key = ("sinks", name, "from_sources")
    unknown = [source for source in sink.from_sources if source not in named]
    for source in unknown:
        known = ", ".join(sorted(named)) or "none"
        out.add(key, f"must name sources of this file{but(source)}{nearest(source, named)} (there: {known})")
    if unknown or not sink.enabled or not sink.from_sources:
        return
    if all(source in sources and not sources[source].enabled for source in sink.from_sources):
        out.add(key, "all of these sources are disabled, so this sink gets nothing: enable one, or disable the sink")


def _files_and_proxy(at: Key, config: SourceConfig | SinkConfig, out: Problems) -> None:
    _tls_files((*at, "tls"), config.tls, out)
    if config.proxy not in ("", "none"):
        try:
            parts = urlsplit(config.proxy)
            right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            right = False
        if not right:
            # Not repeated: a proxy's address may hold a password.
            out.add((*at, "proxy"), 'must be an address like "http://proxy.example:3128", "none", or ""')


def _tls_files(at: Key, tls: Tls, out: Problems) -> None:
    missing = {name: problem for name, path in tls if path is not None and (problem := _unreadable(path))}
    for name, problem in missing.items():
        out.add((*at, name), f"the file {printable(str(getattr(tls, name)))} {problem}")
    trust, proof = Tls(ca_file=tls.ca_file), Tls(cert_file=tls.cert_file, key_file=tls.key_file)
    if not missing and tls.ca_file is not None and not _usable(trust):
        out.add((*at, "ca_file"), f"the file {printable(str(tls.ca_file))} must hold certificates in PEM")
    if not missing and tls.cert_file is not None and not _usable(proof):
        what = "must hold a certificate in PEM, and key_file, or else itself, its key, not encrypted"
        out.add((*at, "cert_file"), f"the file {printable(str(tls.cert_file))} {what}")


def _usable(tls: Tls) -> bool:
    try:
        tls.context()
    except OSError:
        return False
    return True


def _unreadable(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.read(1)
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except OSError as error:
        return f"can't be read ({error.strerror}): check owner and mode"
    return ""
