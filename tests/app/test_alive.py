"""`shipper status --alive`, which a container's health check asks: the daemon alone counts, nothing upstream."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daemon_case import Daemon, TenantThread

from shipper.scripted import Destination, Reply
from shipper.simulator.tenant import Tenant

BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nbusy\n"


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """Where a daemon of these settings would listen to its operator, something that always answers the same."""

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(answer)

    path.parent.mkdir(parents=True)
    with socketserver.ThreadingUnixStreamServer(str(path), Answer) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield
        server.shutdown()


def test_a_daemon_lives_while_its_only_lane_is_held_and_is_not_there_once_it_is_killed(tmp_path: Path) -> None:
    tenant = Tenant(count=5, client_id="canary-client", client_secret="canary-client-secret", plan="none")
    refusing = Destination(default=Reply(401, b'{"text":"Invalid authorization","code":3}'))
    with TenantThread(tenant) as running, refusing as destination:
        daemon = Daemon(tmp_path, running.url, destination.url)
        daemon.start()
        daemon.until(lambda: daemon.records("held"))
        answer = daemon.command("status", "--alive")
        assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
        daemon.kill()
        answer = daemon.command("status", "--alive")
        assert (answer.returncode, answer.stderr.count("\n")) == (69, 1)
        assert "is it running?" in answer.stderr


def test_a_daemon_whose_journal_does_not_answer_does_not_live(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, "http://127.0.0.1:1", "")
    with answering(tmp_path / "state/journal/control.sock", BUSY):
        answer = daemon.command("status", "--alive")
    assert (answer.returncode, answer.stderr.count("\n")) == (1, 1)
    assert "HTTP 503" in answer.stderr
    with answering(tmp_path / "other/journal/control.sock", b""):
        daemon.config.write_text(daemon.config.read_text().replace("/state", "/other"))
        answer = daemon.command("status", "--alive")
    assert (answer.returncode, answer.stderr.count("\n")) == (1, 1)
    assert "no answer" in answer.stderr
