"""What is refused, and in which words: one line a problem, all of them at once."""

import subprocess
from pathlib import Path

import pytest
from config_case import CANARY, SINK, SOURCE, WORKING, Case
from tls_case import make_certificates

from shipper.config import ConfigError

ACME_AGAIN = SOURCE.replace("[sources.acme]", "[sources.again]")
BETA = SOURCE.replace("acme", "beta")
BATCH = WORKING + "[sinks.siem.batch]\n"
REQUEST = WORKING + "[sinks.siem.request]\n"
JOURNAL = WORKING + "[journal]\n"
ADMIN = WORKING + "[admin]\n"


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (BATCH + "max_events = 0", "sinks.siem.batch.max_events: must be at least 1, not 0"),
        (BATCH + "max_events = 100001", "sinks.siem.batch.max_events: must be at most 100000, not 100001"),
        (BATCH + "max_events = 1.5", "sinks.siem.batch.max_events: must be a whole number, not 1.5"),
        (BATCH + 'max_events = "x"', 'sinks.siem.batch.max_events: must be a whole number, not "x"'),
        (BATCH + "timeout_secs = nan", "sinks.siem.batch.timeout_secs: must be at most 86400, not nan"),
        (BATCH + 'max_event = "x"', 'sinks.siem.batch.max_event: is not a setting; did you mean "max_events"?'),
        (REQUEST + "timeout_secs = 0", "sinks.siem.request.timeout_secs: must be more than 0, not 0"),
        (REQUEST + "concurrency = 65", "sinks.siem.request.concurrency: must be at most 64, not 65"),
        (JOURNAL + "max_bytes = 10", "journal.max_bytes: must be at least 1000000, not 10"),
        (JOURNAL + "keep_days = -1", "journal.keep_days: must be at least 0, not -1"),
        (JOURNAL + "keep_days = inf", "journal.keep_days: must be at most 3650, not inf"),
        (JOURNAL + "keep_dais = 1", 'journal.keep_dais: is not a setting; did you mean "keep_days"?'),
        ("shutdown_secs = -1\n" + WORKING, "shutdown_secs: must be at least 0, not -1"),
        ("state_dir = 0\n" + WORKING, "state_dir: must be a path in quotes, not 0"),
        ("log = 3\n" + WORKING, "log: must be a table: [log]"),
        (
            '[log]\nlevel = "loud"\n' + WORKING,
            'log.level: must be one of "debug", "info", "warning" or "error", not "loud"',
        ),
        (WORKING + 'enabled = "maybe"', 'sinks.siem.enabled: must be true or false, not "maybe"'),
        (WORKING + "tags = 5", 'sinks.siem.tags: must be a list like ["a", "b"], not 5'),
        (WORKING + 'tags = ["a", 5]', "sinks.siem.tags: item 2 must be a string in quotes, not 5"),
        (WORKING + "start = 2026-11-01T00:00:00Z", "sinks.siem.start: must be a string in quotes"),
        (WORKING + "batch = 4", "sinks.siem.batch: must be a table: [sinks.siem.batch]"),
        (WORKING + "deep.deeper = []", "sinks.siem.deep.deeper: must be a table: [sinks.siem.deep.deeper]"),
        (
            WORKING + "deep.deeper.levle = 1",
            'sinks.siem.deep.deeper.levle: is not a setting; did you mean "level"?',
        ),
        (
            WORKING + "deep.zzz = 1",
            "sinks.siem.deep.zzz: is not a setting here; known: label, deeper",
        ),
        (WORKING + '"to kn" = 1', 'sinks.siem."to kn": is not a setting; did you mean "token"?'),
        (SOURCE + '[sinks.siem]\ntype = "hec"\ntoken = "x"\n', "sinks.siem.url: is missing: add it"),
        (
            SOURCE + SINK.replace("https://splunk.example:8088", "ftp://x"),
            'sinks.siem.url: must be an address like https://splunk.example:8088 (here: "ftp://x")',
        ),
        (
            SOURCE.replace("client_secret", "# ") + SINK,
            "sources.acme: needs exactly one of client_secret, private_key and token (or client_secret_file, "
            "private_key_file, token_file)",
        ),
        (
            SOURCE.replace("acme.us.auth0.com", "https://acme") + SINK,
            'sources.acme.domain: must be the tenant\'s domain alone, like acme.us.auth0.com (here: "https://acme")',
        ),
        (SOURCE + "poll_interval_secs = 0\n" + SINK, "sources.acme.poll_interval_secs: must be at least 0.1, not 0"),
        (SOURCE + '[sinks]\nsiem = "x"\n', "sinks.siem: must be one table: [sinks.siem]"),
        (SOURCE + '[[sinks.siem]]\ntype = "hec"\n', "sinks.siem: must be one table: [sinks.siem]"),
    ],
)
def test_a_problem_is_one_line_with_key_fault_and_remedy(case: Case, text: str, line: str) -> None:
    assert case.problems(text) == [line]


@pytest.mark.parametrize("key", ["file", "layers", "STATE_DIR", "_file", "model_config", '"\\u001b[2J\\u202e\\n"'])
def test_what_is_no_setting_is_refused_and_printable(case: Case, key: str) -> None:
    line = case.problem(f"{key} = 1\n{WORKING}")
    assert "is not a setting" in line
    assert line.isprintable()


def test_another_kinds_setting_is_refused(case: Case) -> None:
    assert "sinks.siem.acknowledgements: is not a setting" in case.problem(f"{WORKING}[sinks.siem.acknowledgements]\n")


def test_all_problems_are_said_at_once(case: Case) -> None:
    text = (
        'shutdown_sec = 1\n[log]\nlevel = "loud"\n'
        + SOURCE
        + ACME_AGAIN
        + SINK
        + "max_dead_in_a_row = 0\n[sinks.siem.batch]\nmax_bytes = 0\n"
        + '[sinks.other]\ntype = "plain"\nfrom_sources = ["acmee"]\nstart = "yesterday"\n[sinks.none]\n'
    )
    lines = case.problems(text, {"SHIPPER_SINKS__SIEM__TOKN": "x", "SHIPPER_JOURNAL__KEEP_DAYS": "x"})
    for key in (
        "shutdown_sec", "log.level", "sources.again", "sinks.siem.max_dead_in_a_row", "sinks.siem.batch.max_bytes",
        "sinks.other.from_sources", "sinks.other.start", "sinks.none.type", "SHIPPER_SINKS__SIEM__TOKN",
        "SHIPPER_JOURNAL__KEEP_DAYS (journal.keep_days)",
    ):  # fmt: skip
        assert sum(line.startswith(f"{key}: ") for line in lines) == 1, (key, lines)
    assert len(lines) == 10


@pytest.mark.parametrize("name", ["a", "a1_b", "a" + "b" * 30, "siem_"])
def test_a_name_within_the_rule_is_taken(case: Case, name: str) -> None:
    assert name in case.load(WORKING + f'[sinks.{name}]\ntype = "plain"\n').sinks or name == "siem"


@pytest.mark.parametrize("name", ["A", "1a", "_a", "a-b", '"a b"', "a__b", "a" + "b" * 31, '""', '"\\u00e4"', '"a\\n"'])
def test_a_name_outside_the_rule_is_refused(case: Case, name: str) -> None:
    for part in ("source", "sink"):
        line = case.problem(f'{WORKING}[{part}s.{name}]\ntype = "plain"\n')
        assert f"the name of a {part} must be" in line
        assert line.isprintable()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ('type = "hecc"', 'must be a known type, not "hecc"; did you mean "hec"? (known here: gone, hec, odd, plain)'),
        ("type = 5", "must be a string in quotes; known here: gone, hec, odd, plain"),
        ("", "is missing: say which kind of sink this is; known here: gone, hec, odd, plain"),
        ('type = "gone"', "can't be loaded from a package (config_case_that_does_not_exist:Sink): ModuleNotFoundError"),
        ('type = "odd"', "can't be loaded from a package (config_case:NO_SINK): TypeError"),
    ],
)
def test_a_type_that_is_not_there_names_those_that_are(case: Case, kind: str, said: str) -> None:
    line = case.problem(f"{WORKING}[sinks.other]\n{kind}\n")
    assert line.startswith("sinks.other.type: ")
    assert said in line


def test_an_unknown_type_of_source_names_the_known_ones(case: Case) -> None:
    line = case.problem(WORKING + '[sources.other]\ntype = "auth1"\n')
    known = 'did you mean "auth0"? (known here: auth0, logto)'
    assert line == f'sources.other.type: must be a known type, not "auth1"; {known}'


def test_a_type_that_cannot_be_imported_does_no_harm_while_nobody_uses_it(case: Case) -> None:
    assert set(case.load(WORKING).sinks) == {"siem"}


def test_two_sources_of_one_tenant_are_refused_even_if_one_is_disabled(case: Case) -> None:
    for extra in ("", "enabled = false\n"):
        line = case.problem(SOURCE + ACME_AGAIN + extra + SINK)
        assert line.startswith("sources.again: reads the same tenant as [sources.acme]")
        assert "remove one" in line
    assert set(case.load(SOURCE + BETA + SINK).sources) == {"acme", "beta"}


def test_from_sources_must_name_sources_and_leave_one_that_is_enabled(case: Case) -> None:
    both = SOURCE + BETA
    assert case.sink(both + SINK + 'from_sources = ["beta"]').from_sources == ["beta"]
    line = case.problem(both + SINK + 'from_sources = ["beta", "acmee"]')
    assert line.startswith('sinks.siem.from_sources: must name sources of this file, not "acmee"; did you mean "acme"?')
    nothing = SOURCE + BETA + "enabled = false\n" + SINK + 'from_sources = ["beta"]\n'
    assert "sinks.siem.from_sources: all of these sources are disabled" in case.problem(nothing)
    assert case.load(nothing + 'enabled = false\n[sinks.other]\ntype = "plain"\n').sinks["siem"].enabled is False


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["sources", "sinks"]),
        (SOURCE, ["sinks"]),
        (SINK, ["sources"]),
        (SOURCE + "enabled = false\n" + SINK, ["sources"]),
        (WORKING + "enabled = false\n", ["sinks"]),
    ],
)
def test_without_an_enabled_source_and_sink_nothing_can_run(case: Case, text: str, parts: list[str]) -> None:
    lines = case.problems(text)
    assert [line.split(":")[0] for line in lines] == parts
    assert all("none is enabled: add [" in line for line in lines)


@pytest.mark.parametrize(
    "start", ["earliest", "latest", "2026-11-01T00:00:00Z", "2026-11-01T00:00:00+01:00", "900" + "1" * 53]
)
def test_a_start_that_is_understood_is_taken(case: Case, start: str) -> None:
    assert case.sink(f'{WORKING}start = "{start}"').start == start


@pytest.mark.parametrize(
    ("start", "said"), [("2026-11-01T00:00:00", "time zone"), ("soon", 'must be "earliest"'), ("900", "log_id")]
)
def test_a_start_that_is_not_understood_is_refused(case: Case, start: str, said: str) -> None:
    sink = case.problem(f'{WORKING}start = "{start}"')
    source = case.problem(f'{SOURCE}start = "{start}"\n{SINK}')
    assert sink.startswith("sinks.siem.start: ")
    assert source.startswith("sources.acme.start: ")
    for line in (sink, source):
        assert said in line
        assert f'(here: "{start}")' in line


@pytest.mark.parametrize("listen", ["", "127.0.0.1:9464", "0.0.0.0:0", "localhost:65535", "[::1]:9464"])
def test_an_address_to_listen_on_is_taken(case: Case, listen: str) -> None:
    assert case.load(f'{ADMIN}listen = "{listen}"').admin.listen == listen


@pytest.mark.parametrize(
    "listen", [":9464", "9464", "localhost", "localhost:", "localhost:65536", "::1:9464", "a:-1", "a:\u0663"]
)
def test_an_address_to_listen_on_without_host_or_port_is_refused(case: Case, listen: str) -> None:
    assert case.problem(f'{ADMIN}listen = "{listen}"').startswith('admin.listen: must be "host:port"')


@pytest.mark.parametrize("proxy", ["", "none", "http://proxy.example:3128", "https://user:word@proxy.example"])
def test_a_proxy_is_taken(case: Case, proxy: str) -> None:
    assert case.sink(f'{WORKING}proxy = "{proxy}"').proxy == proxy


@pytest.mark.parametrize("proxy", ["proxy:3128", "socks5://proxy", "http://", "http://[::1", f"ftp://u:{CANARY}@p"])
def test_a_proxy_that_is_no_http_address_is_refused_unrepeated(case: Case, proxy: str) -> None:
    line = case.problem(f'{SOURCE}proxy = "{proxy}"\n{SINK}')
    assert line == 'sources.acme.proxy: must be an address like "http://proxy.example:3128", "none", or ""'


def test_files_for_tls_must_be_there(case: Case) -> None:
    case.write("ca.pem", "is looked into only where all are there")
    text = WORKING + '[sinks.siem.tls]\nca_file = "ca.pem"\ncert_file = "no.pem"\nkey_file = "."\n'
    cert, key = case.problems(text)
    assert cert == f"sinks.siem.tls.cert_file: the file {case.directory / 'no.pem'} does not exist"
    assert key.startswith("sinks.siem.tls.key_file: the file")
    assert "can't be read" in key


def test_files_for_tls_must_hold_what_they_are_for(case: Case) -> None:
    folder = make_certificates(case.directory)
    case.write("no.pem", CANARY)
    encrypted = ["openssl", "pkcs8", "-topk8", "-in", "good.key", "-passout", "pass:hush", "-out", "locked.key"]
    subprocess.run(encrypted, cwd=folder, check=True, capture_output=True)

    def problem(**files: str) -> str:
        tables = "".join(f'tls.{name} = "{file}"\n' for name, file in files.items())
        return case.problem(WORKING + tables).removeprefix("sinks.siem.tls.")

    assert problem(ca_file="no.pem") == f"ca_file: the file {folder / 'no.pem'} must hold certificates in PEM"
    for key in ("no.pem", "other.key", "locked.key"):
        line = problem(ca_file="authority.pem", cert_file="good.pem", key_file=key)
        assert line.startswith(
            f"cert_file: the file {folder / 'good.pem'} must hold a certificate in PEM, and key_file"
        )
    assert problem(cert_file="good.pem").startswith("cert_file: the file")
    good = 'tls.ca_file = "authority.pem"\ntls.cert_file = "good.pem"\ntls.key_file = "good.key"\n'
    assert case.sink(WORKING + good).tls.key_file == folder / "good.key"


def test_an_empty_path_is_no_path(case: Case) -> None:
    text = WORKING + '[sinks.siem.tls]\nca_file = "no.pem"\n'
    assert case.sink(text, {"SHIPPER_SINKS__SIEM__TLS__CA_FILE": ""}).tls.ca_file is None


ODD_VALUES = [
    "0", "-1", "99999999999999999999999999", "1e400", "-inf", "nan", "true", '""', "[]", "{}", "2026-11-01",
    "00:00:00", "[[1], 2]", f'"{CANARY}"', f'["{CANARY}"]', f'{{ token = "{CANARY}" }}', '"\\u0000"', '"\\U0001F600"',
]  # fmt: skip
KEYS = [
    *("sinks.siem." + name for name in (
        "type", "url", "token", "spare", "tags", "ports", "count", "deep", "deep.label", "deep.deeper",
        "deep.deeper.key", "batch", "batch.max_events", "request.timeout_secs", "tls", "enabled", "from_sources",
        "format", "start", "proxy", "max_dead_in_a_row", "unknown",
    )),
    *("sources.acme." + name for name in ("type", "domain", "client_id", "token", "base_url", "start", "request")),
    "shutdown_secs", "log", "log.level", "admin.listen", "journal.max_bytes", "journal", "unknown",
]  # fmt: skip


def _what_is_said(case: Case, text: str) -> list[str]:
    try:
        case.load(text)
    except ConfigError as error:
        return [*error.lines, repr(error).replace("\\n", "")]
    return []


@pytest.mark.parametrize("key", KEYS)
def test_no_value_anywhere_leads_to_a_traceback_or_shows_itself(case: Case, key: str) -> None:
    part, _, setting = key.rpartition(".")
    for value in ODD_VALUES:
        lines = [line for line in WORKING.splitlines() if not line.startswith(f"{setting} =")]
        text = "\n".join(lines)
        if part in ("sinks.siem", "sources.acme"):
            text = text.replace(f"[{part}]", f"[{part}]\n{setting} = {value}")
        else:
            text = f"{key} = {value}\n{text}" if not key.startswith("sinks") else f"{text}\n{key[11:]} = {value}\n"
        said = _what_is_said(case, text)
        assert CANARY not in "".join(said)
        assert all(line.isprintable() for line in said)


LOGTO = '[sources.identity]\ntype = "logto"\nendpoint = "https://id.example"\napp_id = "a"\napp_secret = "s"\n'


def test_a_log_id_is_no_start_for_a_sink_of_a_source_whose_ids_have_no_order(case: Case) -> None:
    log_id = "900" + "1" * 53
    line = case.problem(LOGTO + f'{WORKING}start = "{log_id}"')
    assert line.startswith('sinks.siem.start: must be "earliest", "latest", or a time')
    assert case.sink(LOGTO + f'{WORKING}start = "{log_id}"\nfrom_sources = ["acme"]').start == log_id
