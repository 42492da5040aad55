"""Which file is read, and what is said about a file that can't be."""

import subprocess
import sys
from pathlib import Path

import pytest
from config_case import SINKS, WORKING, Case
from tls_case import make_certificates

from shipper.config import ConfigError, choose_file, load


def test_the_option_comes_before_the_variable_and_that_before_the_default() -> None:
    environ = {"SHIPPER_CONFIG": "/from/variable.toml"}
    assert choose_file(Path("/from/option.toml"), environ) == Path("/from/option.toml")
    assert choose_file(None, environ) == Path("/from/variable.toml")
    assert choose_file(None, {"SHIPPER_CONFIG": ""}) == Path("/etc/shipper/config.toml")
    assert choose_file(None, {}) == Path("/etc/shipper/config.toml")


def test_the_variable_leads_to_the_file_and_settings_say_which_it_was(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(WORKING, encoding="utf-8")
    assert load(None, {"SHIPPER_CONFIG": str(file)}, sink_types=SINKS).file == file


def test_a_missing_file_is_named_with_who_asked_for_it(tmp_path: Path) -> None:
    missing = tmp_path / "no.toml"
    for path, environ, who in (
        (missing, {}, "--config says"),
        (None, {"SHIPPER_CONFIG": str(missing)}, "$SHIPPER_CONFIG says"),
    ):
        with pytest.raises(ConfigError) as caught:
            load(path, environ, sink_types=SINKS)
        assert str(missing) in str(caught.value)
        assert who in caught.value.lines[0]
        assert "--config FILE" in caught.value.lines[0]


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        load(tmp_path, {}, sink_types=SINKS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("log = {\nlevel", "line 1, column 8"),
        ('a = "1"\nb = unquoted\n', "line 2, column 5: invalid value"),
        ("[log]\n[log]\n", "line 2"),
        ("a = [", "at the end of the file"),
        ("a = " + "[" * 5000, "nested too deeply"),
        ("a = " + "9" * 5000, "too long"),
    ],
)
def test_a_slip_in_the_syntax_is_one_line_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    assert said in Case(tmp_path).problem(text)


def test_a_file_in_another_encoding_is_said(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(b'[sources.acme]\nclient_id = "\xff"\n')
    with pytest.raises(ConfigError, match="no UTF-8 text"):
        load(file, {}, sink_types=SINKS)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert set(Case(tmp_path).load("\ufeff" + WORKING).sinks) == {"siem"}


@pytest.mark.parametrize(
    ("text", "environ", "directory"),
    [
        ("", {}, "/var/lib/shipper"),
        ("", {"STATE_DIRECTORY": "/var/lib/one:/var/lib/two"}, "/var/lib/one"),
        ('state_dir = "/data"\n', {"STATE_DIRECTORY": "/var/lib/one"}, "/data"),
        ('state_dir = "/data"\n', {"SHIPPER_STATE_DIR": "/mine", "STATE_DIRECTORY": "/var/lib/one"}, "/mine"),
        ('state_dir = "/data"\n', {"SHIPPER_STATE_DIR": ""}, "/data"),
        ("", {"STATE_DIRECTORY": ""}, "/var/lib/shipper"),
    ],
)
def test_the_state_directory_is_the_nearest_that_is_given(
    tmp_path: Path, text: str, environ: dict[str, str], directory: str
) -> None:
    assert Case(tmp_path).load(text + WORKING, environ).state_dir == Path(directory)


def test_relative_paths_are_beside_the_file(tmp_path: Path) -> None:
    case = Case(tmp_path)
    make_certificates(tmp_path).joinpath("authority.pem").rename(tmp_path / "ca.pem")
    settings = case.load('state_dir = "state"\n' + WORKING + 'tls.ca_file = "ca.pem"\n')
    assert settings.state_dir == tmp_path / "state"
    assert settings.sinks["siem"].tls.ca_file == tmp_path / "ca.pem"


def test_without_anything_written_the_defaults_of_the_design_hold(tmp_path: Path) -> None:
    settings = Case(tmp_path).load(WORKING)
    assert settings.shutdown_secs == 20
    assert (settings.log.level, settings.log.format) == ("info", "auto")
    assert settings.admin.listen == "127.0.0.1:9464"
    assert (settings.journal.max_bytes, settings.journal.keep_days) == (10_737_418_240, 3)
    assert (settings.journal.dead_letters_max_bytes, settings.journal.dead_letters_max_age_days) == (1_073_741_824, 0)


def test_settings_are_frozen(tmp_path: Path) -> None:
    settings = Case(tmp_path).load(WORKING)
    with pytest.raises(ValueError, match="frozen"):
        settings.shutdown_secs = 1


def test_load_is_a_function_whichever_name_of_its_module_is_used_first() -> None:
    script = "from shipper.config import choose_file, load; load(None, {})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env={"PATH": ""})
    assert "ConfigError" in done.stderr
