"""The environment laid over what the file defines."""

import subprocess
import sys
from pathlib import Path

import pytest
from config_case import SOURCE, WORKING, Case

SIEM = "SHIPPER_SINKS__SIEM__"


@pytest.mark.parametrize(
    ("variable", "value", "where", "expected"),
    [
        ("SHIPPER_LOG__LEVEL", "debug", "log.level", "debug"),
        ("SHIPPER_JOURNAL__KEEP_DAYS", "0.5", "journal.keep_days", 0.5),
        ("SHIPPER_JOURNAL__MAX_BYTES", "2000000", "journal.max_bytes", 2_000_000),
        ("SHIPPER_ADMIN__LISTEN", "", "admin.listen", ""),
        ("SHIPPER_SOURCES__ACME__DOMAIN", "beta.eu.auth0.com", "sources.acme.domain", "beta.eu.auth0.com"),
        ("SHIPPER_SOURCES__ACME__REQUEST__TIMEOUT_SECS", "9", "sources.acme.request.timeout_secs", 9.0),
        (SIEM + "BATCH__MAX_EVENTS", "500", "sinks.siem.batch.max_events", 500),
        (SIEM + "DEEP__DEEPER__LEVEL", "4", "sinks.siem.deep.deeper.level", 4),
        (SIEM + "ADD_TENANT_NAME", "false", "sinks.siem.add_tenant_name", False),
        (SIEM + "COUNT", "12", "sinks.siem.count", 12),
        (SIEM + "START", "20260101", "sinks.siem.start", None),
        (SIEM + "TAGS", "env:prod, team:a b,", "sinks.siem.tags", ["env:prod", "team:a b"]),
        (SIEM + "TAGS", "", "sinks.siem.tags", []),
        (SIEM + "TAGS", '["a"]', "sinks.siem.tags", ['["a"]']),
        (SIEM + "PORTS", "1,2", "sinks.siem.ports", [1, 2]),
        (SIEM + "FROM_SOURCES", "acme", "sinks.siem.from_sources", ["acme"]),
        (SIEM + "DEEP__LABEL", "007", "sinks.siem.deep.label", "007"),
        (SIEM + "DEEP__LABEL", '{"a": 1}', "sinks.siem.deep.label", '{"a": 1}'),
        (SIEM + "DEEP__LABEL", " a ", "sinks.siem.deep.label", " a "),
    ],
)
def test_a_variable_is_read_by_its_fields_own_type(
    tmp_path: Path, variable: str, value: str, where: str, expected: object
) -> None:
    case = Case(tmp_path)
    if expected is None:
        assert "must say its time zone" in case.problem(WORKING, {variable: value})
        return
    found: object = case.load(WORKING, {variable: value})
    for part in where.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    assert found == expected
    assert type(found) is type(expected)


def test_a_variable_overrides_the_file_and_leaves_its_neighbours(tmp_path: Path) -> None:
    config = Case(tmp_path).sink(
        WORKING + "batch = { max_events = 3, max_bytes = 4 }\n", {SIEM + "BATCH__MAX_EVENTS": "5"}
    )
    assert (config.batch.max_events, config.batch.max_bytes) == (5, 4)


@pytest.mark.parametrize("environ", [{}, {SIEM + "BATCH__MAX_BYTES": "4000"}])
def test_a_sinks_own_defaults_of_a_table_hold_for_the_keys_that_nobody_sets(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    text = WORKING + ("" if environ else "[sinks.siem.batch]\nmax_bytes = 4000\n")
    batch = Case(tmp_path).sink(text, environ).batch
    assert (batch.max_events, batch.max_bytes, batch.timeout_secs) == (7, 4000, 9.0)


@pytest.mark.parametrize("name", [SIEM + "TOKEN", "SHIPPER_SINKS__Siem__Token", "shipper_sinks__siem__token"])
def test_the_case_of_a_variable_makes_no_difference_and_no_second_sink(tmp_path: Path, name: str) -> None:
    case = Case(tmp_path)
    settings = case.load(WORKING, {name: "from-variable"})
    assert set(settings.sinks) == {"siem"}
    assert case.sink(WORKING, {name: "from-variable"}).token.get() == "from-variable"


def test_two_variables_that_differ_by_case_only_are_refused(tmp_path: Path) -> None:
    environ = {SIEM + "COUNT": "1", "SHIPPER_SINKS__siem__COUNT": "2"}
    assert "differ by case only" in Case(tmp_path).problem(WORKING, environ)


@pytest.mark.parametrize("name", ["siem_", "a_b_c", "s1"])
def test_names_with_underscores_are_found(tmp_path: Path, name: str) -> None:
    text = WORKING.replace("[sinks.siem]", f"[sinks.{name}]")
    settings = Case(tmp_path).load(text, {f"SHIPPER_SINKS__{name.upper()}__BATCH__MAX_EVENTS": "5"})
    assert settings.sinks[name].batch.max_events == 5


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        (SIEM + "TOKN", f"fits no setting; did you mean {SIEM}TOKEN?"),
        (SIEM + "BATCH__MAX_EVENT", f"did you mean {SIEM}BATCH__MAX_EVENTS?"),
        (SIEM + "BATCH", "fits no setting"),
        (SIEM + "TAGS__0", f"did you mean {SIEM}TAGS?"),
        ("SHIPPER_LOG__LEVL", "did you mean SHIPPER_LOG__LEVEL?"),
        (
            "SHIPPER_SINKS__SIEN__TOKEN",
            f"the file has no [sinks.sien], and a variable can't add one; did you mean {SIEM}",
        ),
        ("SHIPPER_SOURCES__BETA__DOMAIN", "did you mean SHIPPER_SOURCES__ACME__DOMAIN?"),
        ("SHIPPER__STATE_DIR", "fits no setting"),
        ("SHIPPER_ZZZZ__QQQQQQQQQQQQQQQQQQQQQQQQQQQQ", "fits no setting; unset it"),
    ],
)
def test_a_variable_that_fits_nothing_is_refused_with_the_nearest_one(tmp_path: Path, variable: str, said: str) -> None:
    line = Case(tmp_path).problem(WORKING, {variable: "some-value"})
    assert line.startswith(f"{variable}: ")
    assert said in line
    assert "some-value" not in line


def test_what_kubernetes_injects_is_left_alone(tmp_path: Path) -> None:
    environ = {
        "SHIPPER_PORT": "tcp://10.0.0.1:9464",
        "SHIPPER_SERVICE_HOST": "10.0.0.1",
        "SHIPPER_SHUTDOWN_SECS": "1",
        "OTHER__THING": "1",
    }
    assert Case(tmp_path).load(WORKING, environ).shutdown_secs == 20


def test_only_the_given_environment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG", '{"level": "debug"}')
    monkeypatch.setenv("STATE_DIR", "/from/the/process")
    monkeypatch.setenv("SHIPPER_LOG__LEVEL", "debug")
    settings = Case(tmp_path).load(WORKING)
    assert (settings.log.level, settings.state_dir) == ("info", Path("/var/lib/shipper"))


def test_a_wrong_value_is_blamed_on_its_variable_and_its_key(tmp_path: Path) -> None:
    line = Case(tmp_path).problem(WORKING, {SIEM + "BATCH__MAX_EVENTS": "many"})
    assert line == f'{SIEM}BATCH__MAX_EVENTS (sinks.siem.batch.max_events): must be a whole number, not "many"'


def test_a_variable_can_complete_a_table_of_the_file(tmp_path: Path) -> None:
    text = SOURCE + "[sinks.siem]\n"
    environ = {SIEM + "TYPE": "hec", SIEM + "URL": "https://a.example", SIEM + "TOKEN": "hush"}
    assert Case(tmp_path).sink(text, environ).url == "https://a.example"


def test_variables_of_a_table_with_an_unknown_type_add_no_second_problem(tmp_path: Path) -> None:
    text = WORKING + '[sinks.other]\ntype = "hecc"\n'
    assert "sinks.other.type" in Case(tmp_path).problem(text, {"SHIPPER_SINKS__OTHER__URL": "https://a.example"})


def test_the_door_loads_no_settings_library_until_it_is_used() -> None:
    code = "import sys, shipper.config as c; c.ConfigError; print({'pydantic', 'aiohttp'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
