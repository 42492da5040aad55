"""Who may see the page and the status, and what a browser is told about them."""

import re
import subprocess
import sys
import zipfile
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry

from shipper.admin import Admin
from shipper.config.settings import AdminConfig
from shipper.desk import Desk
from shipper.history import History
from shipper.journal.sqlite import SqliteJournal
from shipper.scene import Scene

ROOT = Path(__file__).parents[2]
EVERYWHERE = ("/", "/api/status", "/metrics", "/-/healthy")


@asynccontextmanager
async def served(place: Path, listen: str, *, status_page: bool = False) -> AsyncIterator[str]:
    """The port of an admin server over an empty journal."""
    journal = await SqliteJournal.open(place, max_bytes=10_000_000)
    scene = Scene(lambda: journal.figures)
    admin = Admin(journal, scene, History(scene), CollectorRegistry(), Desk(journal))
    try:
        yield (await admin.start(AdminConfig(listen=listen, status_page=status_page), place, None)).rpartition(":")[2]
    finally:
        await admin.stop()
        await journal.close()


async def statuses(port: str, host: str = "", method: str = "GET", paths: tuple[str, ...] = EVERYWHERE) -> list[int]:
    async with ClientSession() as session:
        found = []
        for path in paths:
            headers = {"Host": host} if host else {}
            async with session.request(method, f"http://127.0.0.1:{port}{path}", headers=headers) as answer:
                found.append(answer.status)
        return found


async def test_on_loopback_it_is_there_by_itself(tmp_path: Path) -> None:
    async with served(tmp_path, "127.0.0.1:0") as port:
        assert await statuses(port) == [200] * 4
        assert await statuses(port, method="HEAD") == [200] * 4
        assert await statuses(port, method="POST") == [405] * 4


async def test_elsewhere_page_and_status_are_shown_only_where_that_is_set(tmp_path: Path) -> None:
    async with served(tmp_path, "0.0.0.0:0") as port:
        assert await statuses(port) == [403, 403, 200, 200]
    async with served(tmp_path, "0.0.0.0:0", status_page=True) as port:
        assert await statuses(port, host="shipper.example:9464") == [200] * 4


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8080", "127.0.0.1", "127.9.9.9:1", "[::1]:9464", "[::1]"])
async def test_loopback_answers_to_its_own_names_through_any_port(tmp_path: Path, host: str) -> None:
    async with served(tmp_path, "127.0.0.1:0") as port:
        assert await statuses(port, host=host) == [200] * 4


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:9464", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::1"],
)
async def test_a_strangers_name_for_loopback_gets_nothing(tmp_path: Path, host: str) -> None:
    async with served(tmp_path, "127.0.0.1:0") as port:
        assert await statuses(port, host=host) == [421] * 4


async def test_every_answer_is_kept_from_caches_frames_and_guesses(tmp_path: Path) -> None:
    async with served(tmp_path, "127.0.0.1:0") as port, ClientSession() as session:
        for path in (*EVERYWHERE, "/nothing", "/api/status?after=x"):
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Referrer-Policy"] == "no-referrer"
                assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
                assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


async def test_the_policy_allows_the_pages_own_script_and_style_by_their_hash_alone(tmp_path: Path) -> None:
    async with (
        served(tmp_path, "127.0.0.1:0") as port,
        ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/") as answer,
    ):
        page, policy = await answer.text(), answer.headers["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in policy
    for kind, rule in (("script", "script-src"), ("style", "style-src")):
        text = re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        assert [f"'sha256-{b64encode(sha256(one.encode()).digest()).decode()}'" for one in text] == [rules[rule]]
    assert not re.search(r"\b(src|href)=\"(?!#|data:|metrics)", page)
    assert not re.search(r"\bon\w+=|style=|innerHTML|insertAdjacentHTML|document\.write|eval\(", page)


@pytest.mark.parametrize("after", ["", "-1", "1e3", "٣", "9" * 16])
async def test_an_after_that_is_no_time_is_refused(tmp_path: Path, after: str) -> None:
    async with served(tmp_path, "127.0.0.1:0") as port:
        assert await statuses(port, paths=(f"/api/status?after={after}",)) == [400]


def test_the_page_is_part_of_what_is_installed(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    files = {path.name for path in (ROOT / "shipper/status_page").iterdir() if path.is_file()}
    assert {f"shipper/status_page/{name}" for name in files} <= set(names)
    assert {"status.html", "status.css", "page.js"} <= files
