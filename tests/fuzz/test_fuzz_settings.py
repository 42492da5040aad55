"""The configuration, by anyone: settings, or lines that a person can act on; never a traceback, never a secret."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fuzz_case import fuzz
from hypothesis import strategies as st

from shipper.config import ConfigError, Settings, load

CANARY = "c4n4ry-0000-1111-2222-333344445555-secret"
"""Stands only where a secret belongs: any other text may be repeated."""
EXAMPLE = (Path(__file__).parents[2] / "config.example.toml").read_text()
BASE = f"""\
[sources.acme]
type = "auth0"
domain = "acme.us.auth0.com"
client_id = "made-up"
client_secret = "{CANARY}"
[sinks.siem]
type = "splunk_hec"
url = "https://splunk.example:8088"
token = "{CANARY}"
"""
_texts = st.sampled_from([
    "", "auth0", "splunk_hec", "datadog", "s3", "stdout", "none", "earliest", "2026-01-01T00:00:00Z",
    "https://a.example", "/x",
    "http://a.example", "127.0.0.1:0", "x.y", "\x00", "é" * 40, "https://user:password@a.example",
    "9" * 56, "[::1]:1", "1e5",
]) | st.text(max_size=12)  # fmt: skip
_scalars = st.one_of(
    _texts.map(json.dumps),
    st.integers(-(2**70), 2**70).map(str),
    st.floats().map(str),
    st.sampled_from(["true", "false", "inf", "-nan", "1979-05-27", "07:32:00", "[]", "{}", "[[]]", "[1, 'a']"]),
    st.sampled_from(["{a.b = 1}", "'", '"""']),
)  # fmt: skip
_keys = st.sampled_from([
    "type", "domain", "client_id", "client_secret", "client_secret_file", "token", "token_file", "private_key",
    "base_url", "start",
    "poll_interval_secs", "retention_days", "enabled", "url", "index", "batch", "batch.max_events",
    "batch.max_bytes", "request",
    "request.timeout_secs", "tls.ca_file", "tls", "proxy", "from_sources", "format", "bucket", "prefix",
    "region", "endpoint_url",
    "site", "api_key", "tags", "too_old", "acknowledgements.enabled", "state_dir", "shutdown_secs", "level",
    "listen", "max_bytes",
    "keep_days", "log.level", "journal", "sinks", "sources", "a b", "''", "é", "max_dead_in_a_row", "role_arn",
    "kms_key_id",
]) | st.from_regex(r"[a-z_]{1,10}", fullmatch=True)  # fmt: skip
_heads = st.sampled_from([
    "", "[log]", "[admin]", "[journal]", "[sources.acme]", "[sources.other]", "[sources.Bad-Name]",
    "[sinks.siem]", "[sinks.archive]",
    "[sinks.siem.batch]", "[sinks.siem.request]", "[sinks.siem.tls]", "[sinks.siem.acknowledgements]",
    "[[sinks.siem]]", "[sinks]",
    "[sources]", "[nothing]", "[", "[sinks.'']", "[sinks.a__b]",
])  # fmt: skip
_lines = st.builds("{} = {}".format, _keys, _scalars)
_sections = st.builds(lambda head, lines: "\n".join([head, *lines]), _heads, st.lists(_lines, max_size=5))
_files = st.lists(_sections, max_size=4).map("\n".join)
_names = st.sampled_from([
    "SHIPPER_SINKS__SIEM__TOKEN", "SHIPPER_SINKS__SIEM__URL", "SHIPPER_SINKS__NONE__URL", "SHIPPER_STATE_DIR",
    "SHIPPER_LOG__LEVEL",
    "SHIPPER_SOURCES__ACME__START", "SHIPPER_SINKS__SIEM__BATCH__MAX_EVENTS", "SHIPPER_JOURNAL__KEEP_DAYS",
    "SHIPPER_ODD",
    "SHIPPER_SINKS__SIEM__TOKEN_FILE", "SHIPPER_SINKS__", "SHIPPER___", "CREDENTIALS_DIRECTORY", "STATE_DIRECTORY",
    "SHIPPER_SINKS__SIEM__FROM_SOURCES", "SHIPPER_SOURCES__ACME", "shipper_sinks__siem__url",
])  # fmt: skip
_variables = st.dictionaries(_names, _texts, max_size=3)


def loaded(text: bytes, environ: Mapping[str, str]) -> Settings | ConfigError:
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "config.toml"
        file.write_bytes(text)
        try:
            return load(file, environ)
        except ConfigError as error:
            return error


def check(text: bytes, environ: Mapping[str, str]) -> None:
    """Anything else that `load` raises is the test's."""
    found = loaded(text, environ)
    if isinstance(found, Settings):
        assert CANARY not in repr(found)
        return
    assert found.lines, "an error without a word"
    for line in found.lines:
        assert line.strip(), "an empty line"
        assert line.isprintable(), line
        assert len(line) < 2_000, line
        assert CANARY not in line, "a secret is shown"
        assert "Traceback" not in line


def changed(base: str, changes: list[tuple[float, int, str]]) -> bytes:
    """The text with pieces cut out and put in."""
    for where, out, into in changes:
        at = int(where * len(base))
        base = base[:at] + into + base[at + out :]
    return base.encode("utf-8", "surrogatepass")


_changes = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 8), _texts | _scalars | _lines), max_size=3)


@fuzz(_files, _variables)
def test_sections_and_variables_of_any_kind(text: str, environ: dict[str, str]) -> None:
    check(text.encode("utf-8", "surrogatepass"), environ)


@fuzz(_files, _variables)
def test_more_sections_behind_a_file_that_is_right(text: str, environ: dict[str, str]) -> None:
    check((BASE + text).encode("utf-8", "surrogatepass"), environ)


@fuzz(st.sampled_from([BASE, EXAMPLE]), _changes, _variables)
def test_a_file_that_was_right_and_is_damaged(base: str, changes: list[tuple[float, int, str]], environ: Any) -> None:
    check(changed(base, changes), environ)


@fuzz(st.binary(max_size=60), _variables)
def test_any_bytes_at_all(text: bytes, environ: dict[str, str]) -> None:
    check(text, environ)


def test_the_file_that_these_tests_damage_is_right() -> None:
    settings = loaded(BASE.encode(), {})
    assert isinstance(settings, Settings)
    assert list(settings.sinks) == ["siem"]
