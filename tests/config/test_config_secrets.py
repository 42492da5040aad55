"""Secrets: where they may stand, which place wins, and that they are shown nowhere."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from config_case import CANARY, SINK, SINKS, SOURCE, WORKING, Case

from shipper.config import ConfigError, load, load_own, masked, to_toml

TOKEN, TOKEN_FILE = "SHIPPER_SINKS__SIEM__TOKEN", "SHIPPER_SINKS__SIEM__TOKEN_FILE"
BARE_SINK = '[sinks.siem]\ntype = "hec"\nurl = "https://splunk.example:8088"\n'
BARE = SOURCE + BARE_SINK
NOBODY = 65534


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """One file for each place, each with another secret."""
    case = Case(tmp_path)
    case.write("beside.secret", "from file\n")
    case.write("variable.secret", "from variable's file\n")
    case.write("credentials/sinks.siem.token", "from credential\n")
    case.write("credentials/named.secret", "from named credential\n")
    return case


@pytest.mark.parametrize(
    ("line", "environ", "credentials", "expected"),
    [
        ('token = "plain"', {}, False, "plain"),
        ('token_file = "beside.secret"', {}, False, "from file"),
        ('token_file = "named.secret"', {}, True, "from credential"),
        ('token = "plain"', {}, True, "from credential"),
        ("", {}, True, "from credential"),
        ('token = "plain"', {TOKEN: "variable"}, True, "variable"),
        ('token_file = "beside.secret"', {TOKEN: "variable"}, False, "variable"),
        ('token = "plain"', {TOKEN_FILE: "variable.secret"}, True, "from variable's file"),
        ("", {TOKEN: "variable\n"}, False, "variable"),
        ('token_file = "does-not-matter"', {TOKEN: "variable"}, False, "variable"),
    ],
)
def test_the_nearest_place_wins(
    case: Case, line: str, environ: dict[str, str], credentials: bool, expected: str
) -> None:
    if credentials:
        environ = {**environ, "CREDENTIALS_DIRECTORY": str(case.directory / "credentials")}
    assert case.sink(f"{BARE}{line}\n", environ).token.get() == expected


def test_credentials_of_a_whole_folder_are_found_by_the_same_names(case: Case) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(case.directory / "loaded")}
    case.write("loaded/secrets_sinks.siem.token", "from the folder")
    case.write("loaded/secrets_named.secret", "named in the folder")
    sink = case.sink(BARE + 'spare_file = "named.secret"\n', environ)
    assert sink.spare is not None
    assert (sink.token.get(), sink.spare.get()) == ("from the folder", "named in the folder")
    case.write("loaded/sinks.siem.token", "by itself")
    assert case.sink(BARE, environ).token.get() == "by itself"


def test_the_programs_own_settings_need_no_source_and_no_secret(case: Case) -> None:
    own = '[admin]\nlisten = "127.0.0.1:9000"\n'
    case.file.write_text(own + SOURCE.replace("client_secret", "client_secret_file") + '[sinks.siem]\ntype = "gone"\n')
    settings = load_own(case.file, {TOKEN: "x", "SHIPPER_STATE_DIR": "/srv/shipper", "SHIPPER_LOG__LEVEL": "debug"})
    assert (settings.admin.listen, settings.log.level) == ("127.0.0.1:9000", "debug")
    assert (settings.state_dir, settings.file) == (Path("/srv/shipper"), case.file)
    assert (settings.sources, settings.sinks) == ({}, {})
    case.file.write_text("sources = 1\nstate_dri = 2\n")
    with pytest.raises(ConfigError, match=r"state_dri: .*state_dir") as caught:
        load_own(case.file, {"SHIPPER_LOG__LEVL": "debug"})
    assert len(caught.value.lines) == 2


def test_a_relative_file_is_a_credential_before_it_is_beside_the_file(case: Case) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(case.directory / "credentials")}
    case.write("named.secret", "beside")
    spare = case.sink(WORKING + 'spare_file = "named.secret"\n', environ).spare
    assert spare is not None
    assert spare.get() == "from named credential"
    spare = case.sink(WORKING + 'spare_file = "beside.secret"\n', environ).spare
    assert spare is not None
    assert spare.path == case.directory / "beside.secret"


def test_a_sources_credential_and_a_secret_in_a_nested_table_are_found(case: Case) -> None:
    case.write("credentials/sources.acme.client_secret", "source's")
    case.write("credentials/sinks.siem.deep.deeper.key", "nested")
    environ = {"CREDENTIALS_DIRECTORY": str(case.directory / "credentials")}
    settings = case.load(WORKING.replace('client_secret = "hush"\n', ""), environ)
    assert settings.sources["acme"].client_secret.get() == "source's"  # type: ignore[attr-defined]
    key = case.sink(WORKING, environ).deep.deeper.key
    assert key is not None
    assert key.get() == "nested"


def test_a_secret_from_a_file_is_read_again_when_the_file_changes(case: Case) -> None:
    token = case.sink(BARE + 'token_file = "beside.secret"\n').token
    case.write("beside.secret", "rotated and longer")
    assert token.get() == "rotated and longer"


@pytest.mark.parametrize(
    ("line", "environ"),
    [('token = "plain"\ntoken_file = "beside.secret"', {}), ("", {TOKEN: "a", TOKEN_FILE: "variable.secret"})],
)
def test_a_secret_and_its_file_side_by_side_are_an_error(case: Case, line: str, environ: dict[str, str]) -> None:
    said = case.problem(f"{BARE}{line}\n", environ)
    assert "both token and token_file" in said
    assert "sinks.siem.token" in said


def test_the_two_are_an_error_even_where_a_variable_wins(case: Case) -> None:
    text = BARE + 'token = "plain"\ntoken_file = "beside.secret"\n'
    assert "both token and token_file" in case.problem(text, {TOKEN: "variable"})


def _bad_files(directory: Path) -> Iterator[tuple[str, str]]:
    (directory / "empty").write_text(" \n", encoding="utf-8")
    yield "empty", "can't be used (empty)"
    (directory / "binary").write_bytes(b"\xff\xfe" + CANARY.encode())
    yield "binary", "can't be used (no UTF-8 text)"
    (directory / "huge").write_text(CANARY * 5000, encoding="utf-8")
    yield "huge", "more than"
    os.mkfifo(directory / "pipe")
    yield "pipe", "is no regular file"
    (directory / "folder").mkdir()
    yield "folder", "is no regular file"
    (directory / "loop").symlink_to("loop")
    yield "loop", "can't be used"
    yield "missing", "does not exist"
    yield "empty/inside", "does not exist"


def test_a_file_that_holds_no_secret_is_named_with_its_key(case: Case) -> None:
    for name, problem in _bad_files(case.directory):
        for text, environ, key in (
            (f'{BARE}token_file = "{name}"\n', {}, "sinks.siem.token_file"),
            (BARE, {TOKEN_FILE: name}, f"{TOKEN_FILE} (sinks.siem.token_file)"),
        ):
            line = case.problem(text, environ)
            assert line.startswith(f"{key}: the file {case.directory / name} "), line
            assert problem in line
            assert CANARY not in line


@contextmanager
def nobody_special(directory: Path) -> Iterator[None]:
    """Root may read every file, so where root runs the tests, this part runs as somebody else."""
    if os.geteuid() != 0:
        yield
        return
    for folder in (directory, *directory.parents):
        if not folder.stat().st_mode & stat.S_IXOTH:
            folder.chmod(0o755)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_not_be_read_is_named_with_its_key(case: Case) -> None:
    (case.directory / "beside.secret").chmod(0)
    case.write("config.toml", BARE + 'token_file = "beside.secret"\n')
    with nobody_special(case.directory), pytest.raises(ConfigError) as caught:
        load(case.directory / "config.toml", {}, sink_types=SINKS)
    assert "can't be used (Permission denied)" in str(caught.value)


def test_a_folder_among_the_credentials_is_no_credential(case: Case) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(case.directory / "credentials")}
    (case.directory / "credentials" / "sinks.siem.spare").mkdir()
    assert case.sink(WORKING, environ).spare is None
    assert case.load('state_dir = "."\n' + WORKING, environ).state_dir == case.directory


def test_an_empty_credential_is_named(case: Case) -> None:
    path = case.write("credentials/sinks.siem.token", "")
    line = case.problem(BARE, {"CREDENTIALS_DIRECTORY": str(path.parent)})
    assert line.startswith(f"sinks.siem.token: the file {path} can't be used (empty)")


def test_a_missing_secret_says_all_the_ways_to_give_one(case: Case) -> None:
    line = case.problem(BARE)
    for way in ("token_file", TOKEN, "credential named sinks.siem.token"):
        assert way in line


def test_a_missing_secret_of_an_optional_kind_is_fine(case: Case) -> None:
    assert case.sink(WORKING).spare is None


CANARY_MISPLACED = [
    f'tokn = "{CANARY}"',
    f'token_fil = "{CANARY}"',
    f"token = [1, '{CANARY}']",
    f'token = {{ value = "{CANARY}" }}',
    f'token = "{CANARY}"\ntoken_file = "x"',
    f'token = "{CANARY}"\n[sinks.siem.batch]\nmax_events = 0',
    f'token = "hush"\nspare = ["{CANARY}"]',
    f'token = "hush"\nformat = "{CANARY}"',
    f'token = "hush"\nstart = "{CANARY}"',
    f'token = "hush"\nproxy = "http:/user:{CANARY}@proxy"',
    'token = "hush"\nurl = "u:s3cr3t@h"',
    f'token = "hush"\nurl2 = "{CANARY}"',
    f'token = "hush"\ntype2 = {{ a = "{CANARY}" }}',
    f'token = "hush"\nfrom_sources = ["{CANARY}"]',
    f'token = "hush"\nbatch = "{CANARY}"',
    f'token = "hush"\ncount = "{CANARY}"',
    f'token = "hush"\n[sinks.siem.deep.deeper]\nkey = {{ a = "{CANARY}" }}',
    f'token = "hush"\n[sinks.{CANARY[:8]}__x]\ntoken = "{CANARY}"',
    f'token = "hush"\n[[sinks.twice]]\ntoken = "{CANARY}"',
    f'token = "hush"\n[sinks.other]\ntype = "{CANARY}"',
    f'token = "hush"\n[sinks.other]\ntoken = "{CANARY}"',
    f"token = {CANARY}",
    f'token = "{CANARY}\n',
    f'token = "{CANARY}" "{CANARY}"',
    f'token = """{CANARY}',
]


@pytest.mark.parametrize("lines", CANARY_MISPLACED)
def test_a_secret_in_a_wrong_place_is_not_repeated(case: Case, lines: str) -> None:
    with pytest.raises(ConfigError) as caught:
        case.load(f"{BARE.replace('url', '#') if 'url =' in lines else BARE}{lines}\n")
    assert CANARY not in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert CANARY not in repr(caught.value)


def test_words_of_a_plugin_about_a_secret_are_not_repeated(case: Case) -> None:
    line = case.problem(WORKING + 'spare = "pw"\n')
    assert line == "sinks.siem.spare: is no valid secret of this kind"


@pytest.mark.parametrize("name", ["TOKN", "DEEP__DEEPER__LEVEL", "COUNT", "FORMAT", "BATCH__MAX_EVENTS", "URL"])
def test_a_secret_in_a_wrong_variable_is_not_repeated(case: Case, name: str) -> None:
    assert CANARY not in case.problem(WORKING, {f"SHIPPER_SINKS__SIEM__{name}": CANARY})


def test_an_empty_secret_is_said(case: Case) -> None:
    assert "is empty" in case.problem(BARE + 'token = ""\n')
    assert "is empty" in case.problem(BARE, {TOKEN: " "})
    assert "must be the path of a file" in case.problem(BARE + 'token_file = ""\n')


def test_no_text_form_of_settings_shows_a_secret(case: Case) -> None:
    case.write("canary.secret", CANARY)
    text = (
        SOURCE.replace("hush", CANARY)
        + SINK.replace("hush", CANARY)
        + f'proxy = "http://user:{CANARY}@proxy.example:3128"\nspare_file = "canary.secret"\n'
        + f'[sinks.siem.deep.deeper]\nkey = "{CANARY}"\n'
    )
    settings = case.load(text)
    assert case.sink(text).token.get() == CANARY
    for shown in (str(masked(settings)), to_toml(masked(settings))):
        assert CANARY not in shown
    without_proxy = case.load(text.replace(f"http://user:{CANARY}@", "http://"))
    for shown in (repr(without_proxy), str(without_proxy), str(without_proxy.model_dump())):
        assert CANARY not in shown
    assert CANARY not in without_proxy.model_dump_json()


def test_a_secret_put_where_its_file_belongs_is_not_shown(tmp_path: Path) -> None:
    secret = "canary-0123456789abcdef0123456789abcdef"
    path = tmp_path / "c.toml"
    path.write_text(f'[sources.acme]\ntype = "auth0"\ndomain = "a.us.auth0.com"\ntoken_file = "{secret}"\n')
    with pytest.raises(ConfigError) as wrong:
        load(path, {})
    assert "sources.acme.token_file: the file it names does not exist" in str(wrong.value)
    assert secret not in str(wrong.value)
