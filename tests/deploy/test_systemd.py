"""The systemd units: what systemd's own tools say of them, and that they and the program mean the same names."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from tls_case import ask, make_certificates, serving, site
from tool_case import run, tool

from shipper.cli import main
from shipper.config import load
from shipper.exit_status import WRONG_CONFIG
from shipper.http import proxy_for

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "deploy" / "systemd"
PROGRAM = "/opt/shipper/bin/shipper"


def settings_in(unit: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", (UNITS / unit).read_text(), re.MULTILINE)


def test_systemd_finds_nothing_wrong_with_any_unit(tmp_path: Path) -> None:
    # The program is looked for at its place, so the check gets units that name one which is there.
    units = [*UNITS.glob("*.service"), *UNITS.glob("*.path")]
    assert len(units) == 3
    for unit in units:
        (tmp_path / unit.name).write_text(unit.read_text().replace(PROGRAM, sys.executable))
    shutil.copytree(UNITS / "drop-ins", tmp_path / "shipper.service.d")
    # It ends with 0 whatever it found, so what counts is that it found nothing to say.
    said = run(tool("systemd-analyze"), "verify", *(str(tmp_path / unit.name) for unit in units))
    assert [line for line in said.splitlines() if "shipper" in line] == []
    (tmp_path / "shipper.service.d" / "slip.conf").write_text("[Service]\nWatchdogSecs=60\n")
    assert "WatchdogSecs" in run(tool("systemd-analyze"), "verify", str(tmp_path / "shipper.service"))


def test_systemd_rates_the_unit_as_hardened() -> None:
    run(tool("systemd-analyze"), "security", "--offline=true", "--threshold=15", str(UNITS / "shipper.service"))


def test_the_unit_and_the_program_mean_the_same(tmp_path: Path) -> None:
    assert settings_in("shipper.service", "RestartPreventExitStatus") == [str(WRONG_CONFIG)]
    assert settings_in("shipper.service", "ExecStart") == [f"{PROGRAM} run --config /etc/shipper/config.toml"]
    assert settings_in("shipper.service", "ExecStartPre") == []
    assert settings_in("shipper.service", "ExecReload") == [f"{PROGRAM} reload"]
    assert "reload" in main.commands
    (folder,) = settings_in("shipper.service", "LoadCredential")
    assert folder == f"secrets:{settings_in('shipper-secrets.path', 'PathChanged')[0]}"
    assert folder in (UNITS / "shipper-secrets.service").read_text()
    # As systemd names what it loads with its folder; the encrypted ones are loaded one by one.
    (tmp_path / "secrets_sources.acme.client_secret").write_text("made-up")
    (encrypted,) = settings_in("drop-ins/encrypted.conf", "LoadCredentialEncrypted")
    (tmp_path / encrypted.partition(":")[0]).write_text("made-up")
    text = (ROOT / "config.example.toml").read_text()
    (tmp_path / "config.toml").write_text(re.sub(r"(?m)^(client_secret_file|token_file) = .*$", "", text))
    settings = load(tmp_path / "config.toml", {"CREDENTIALS_DIRECTORY": str(tmp_path), "STATE_DIRECTORY": "/var/lib/x"})
    assert settings.state_dir == Path("/var/lib/x")


async def test_the_drop_in_makes_an_authority_of_ones_own_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = dict(line.split("=") for line in settings_in("drop-ins/authorities.conf", "Environment"))
    certificates = make_certificates(tmp_path)
    with site(serving(certificates)) as there:
        assert (await ask("hec", there.url, proxy="none"))[0] == "tls"
        monkeypatch.setenv(next(iter(given)), str(certificates / "authority.pem"))
        assert await ask("hec", there.url, proxy="none") == ("ok", "")


async def test_the_drop_in_leads_what_goes_out_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    given = dict(line.split("=") for line in settings_in("drop-ins/proxy.conf", "Environment"))
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert proxy_for("https://acme.us.auth0.com/api/v2/logs", "") == given["HTTPS_PROXY"]
    assert proxy_for(f"https://{given['NO_PROXY'].split(',')[-1]}:8088", "") is None
