from email.utils import formatdate
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from pydantic import ValidationError

import shipper
from shipper import (
    Answer,
    Batch,
    BatchLimits,
    Fatal,
    HttpSink,
    Rejected,
    Request,
    RequestLimits,
    Secret,
    Sink,
    SinkConfig,
    Unavailable,
    check_url,
)
from shipper.scripted import PERSON
from shipper.shape.formats import FORMATS, Format
from shipper.shape.redact import Redact
from shipper.sink import clip, load_sink_type, sink_types
from shipper.testing import Reply, make_answer, make_batch, make_event, make_events


class Plain(Sink):
    class Config(SinkConfig):
        type: Literal["plain"] = "plain"
        token: Secret = Secret("made-up")

    async def write(self, batch: Batch) -> None:
        return None


class PlainHttp(HttpSink):
    def request(self, batch: Batch) -> Request:
        if batch.attempt == 99:
            raise Rejected("too_large", only={0: "decided here"})
        return Request("http://127.0.0.1:9/", {}, b"")


def answer(status: int, body: bytes = b"", **headers: str) -> Answer:
    return make_answer(Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()}))


# Outcomes


@pytest.mark.parametrize("outcome", [Unavailable, Rejected, Fatal])
def test_an_outcomes_text_is_its_reason_and_our_note(outcome: type[Any]) -> None:
    assert str(outcome("io", "HTTP 500")) == "io: HTTP 500"
    assert str(outcome("io")) == "io"


def test_the_destinations_words_are_not_in_an_outcomes_text() -> None:
    outcome = Rejected("refused", "HTTP 400", only={3: "their words"}, detail="their words")
    assert "their words" not in f"{outcome!s} {outcome!r} {outcome.args}"
    assert (outcome.only, outcome.detail) == ({3: "their words"}, "their words")


def test_the_destinations_words_are_cut_to_one_kibibyte() -> None:
    outcome = Rejected("refused", only={0: "ü" * 5000}, detail="x" * 5000)
    assert outcome.only == {0: "ü" * 512}
    assert len(outcome.detail) == 1024


@pytest.mark.parametrize("words", ["", "short", "x" * 1023 + "ü", "\ud83e" * 2000, "🦉" * 300])
def test_clip_never_splits_a_character(words: str) -> None:
    clipped = clip(words)
    assert len(clipped.encode()) <= 1024
    assert words.encode("utf-8", "replace").startswith(clipped.encode())


def test_only_is_kept_apart_from_none() -> None:
    assert Unavailable("timeout").only is None
    assert Unavailable("timeout", only=[]).only == frozenset()
    assert Rejected("refused").only is None
    assert Rejected("refused", only={}).only == {}


# Settings


def test_settings_are_frozen_and_unknown_ones_are_errors() -> None:
    config = Plain.Config()
    with pytest.raises(ValidationError, match="frozen"):
        config.start = "latest"
    with pytest.raises(ValidationError, match="tokn"):
        Plain.Config(tokn="x")  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="max_evnts"):
        BatchLimits(max_evnts=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "limits",
    [
        lambda: BatchLimits(max_events=0),
        lambda: BatchLimits(max_bytes=0),
        lambda: BatchLimits(timeout_secs=-1),
        lambda: RequestLimits(timeout_secs=0),
        lambda: RequestLimits(concurrency=0),
    ],
)
def test_limits_that_make_no_sense_are_errors(limits: Any) -> None:
    with pytest.raises(ValidationError):
        limits()


@pytest.mark.parametrize("value", [123456789, ["hidden-in-a-list"], {"a": "hidden-in-a-table"}])
def test_an_error_about_a_secret_does_not_quote_it(value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        Plain.Config(token=value)  # type: ignore[arg-type]
    assert "123456789" not in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://splunk.example:8088",
        "https://splunk.example/path",
        "http://127.0.0.1:1",
        "http://[::1]:1",
        "http://localhost",
    ],
)
def test_an_address_for_credentials_is_https_or_loopback(url: str) -> None:
    assert check_url(url) == url
    assert check_url(url + "/") == url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://splunk.example", "https"),
        ("http://127.0.0.1.evil.example", "https"),
        ("http://localhost@evil.example", "user name"),
        ("https://me:pw@splunk.example", "user name"),
        ("https://splunk.example/?token=x", "query"),
        ("https://splunk.example/#x", "fragment"),
        ("splunk.example:8088", "like https://"),
        ("ftp://splunk.example", "like https://"),
        ("https://", "like https://"),
        ("", "like https://"),
        ("https://splunk.example:99999", "[Pp]ort"),
        ("https://splunk.example:http", "[Pp]ort"),
        ("https://splunk.example/a b", "spaces"),
        ("https://splunk.example\r\nX: y", "spaces"),
    ],
)
def test_other_addresses_are_errors(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_url(url)


# Secrets


def test_a_secret_shows_only_stars() -> None:
    config = Plain.Config(token="made-up-value")  # type: ignore[arg-type]
    shown = f"{config!r} {config} {config.model_dump()} {config.model_dump_json()} {config.token!r} {config.token}"
    assert "made-up-value" not in shown
    assert config.token.get() == "made-up-value"


def test_a_secret_is_read_again_when_its_file_changes(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("  first\n")
    secret = Secret(path=file)
    assert secret.get() == "first"
    file.write_text("the second\n")
    assert secret.get() == "the second"
    replacement = tmp_path / "new"
    replacement.write_text("the 3rd..\n")
    replacement.replace(file)
    assert secret.get() == "the 3rd.."


@pytest.mark.parametrize("broken", ["missing", "empty", "blank", "binary"])
def test_while_a_file_is_replaced_the_old_secret_stays(tmp_path: Path, broken: str) -> None:
    file = tmp_path / "token"
    file.write_text("first")
    secret = Secret(path=file)
    assert secret.get() == "first"
    if broken == "missing":
        file.unlink()
    else:
        file.write_bytes({"empty": b"", "blank": b" \n", "binary": b"\xff\xfe\x00"}[broken])
    assert secret.get() == "first"
    file.write_text("second one")
    assert secret.get() == "second one"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe"])
def test_a_file_that_never_held_a_secret_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(OSError, match="token"):
        Secret(path=file).get()


# What all sinks have


def test_bodies_are_envelopes_or_raw_events() -> None:
    batch = make_batch([make_event(1)])
    raw = make_event(1).raw
    enveloped = b'{"log_id":"%b","data":%b}' % (make_event(1).id.encode(), raw)
    assert Plain(Plain.Config(add_tenant_name=False)).bodies(batch) == [enveloped]
    assert b'"data":{"tenant_name":"acme",' in Plain(Plain.Config()).bodies(batch)[0]
    assert Plain(Plain.Config(format="raw")).bodies(batch) == [raw]


@pytest.mark.parametrize("format_", FORMATS)
def test_what_is_redacted_stands_in_no_format_beside_the_event_either(format_: Format) -> None:
    redact = Redact(fields={"user_name": "drop", "ip": "truncate"})
    sink = Plain(Plain.Config(type="plain", format=format_, redact=redact))
    [line] = sink.bodies(make_batch([make_event()]))
    assert PERSON.encode() not in line
    assert b"192.0.2.7" not in line
    assert b"192.0.2.0" in line


def test_without_the_key_of_its_pseudonyms_a_sink_gives_nothing_out_until_it_is_there(tmp_path: Path) -> None:
    key = tmp_path / "key"
    redact = Redact(fields={"user_name": "hmac"}, hmac_key=Secret(path=key))
    sink = Plain(Plain.Config(type="plain", redact=redact))
    with pytest.raises(Unavailable, match="hmac_key can't be read") as later:
        sink.bodies(make_batch())
    assert later.value.reason == "redaction"
    key.write_text("made-up")
    assert len(sink.bodies(make_batch())) == len(make_batch().events)


async def test_a_sink_without_clients_needs_only_write() -> None:
    sink = Plain(Plain.Config())
    await sink.open()
    assert await sink.probe() == "nothing to check"
    await sink.write(make_batch())
    await sink.close()


def test_a_sink_without_write_can_not_be_made() -> None:
    class Half(Sink):
        pass

    with pytest.raises(TypeError, match="write"):
        Half(SinkConfig(type="half"))  # type: ignore[abstract]


async def test_what_a_sink_rejects_before_it_asked_is_its_own_decision() -> None:
    sink = PlainHttp(SinkConfig(type="plain"))
    await sink.open()
    with pytest.raises(Rejected) as caught:
        await sink.write(make_batch(attempt=99))
    assert caught.value.own
    await sink.close()


def test_what_a_destination_rejects_is_not() -> None:
    assert not Rejected("refused").own


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (300, "redirected"),
        (301, "redirected"),
        (304, "redirected"),
        (400, "bad_answer"),
        (401, "auth"),
        (403, "forbidden"),
        (404, "not_found"),
        (405, "not_found"),
        (407, "auth"),
        (408, "server_error"),
        (410, "not_found"),
        (418, "bad_answer"),
        (429, "throttled"),
        (500, "server_error"),
        (503, "server_error"),
        (599, "server_error"),
    ],
)
def test_by_default_every_status_but_success_is_unavailable(status: int, reason: str) -> None:
    with pytest.raises(Unavailable) as caught:
        PlainHttp(SinkConfig(type="plain")).judge(make_batch(), answer(status))
    assert (caught.value.reason, caught.value.note) == (reason, f"HTTP {status}")


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_by_default_success_is_in_the_status(status: int) -> None:
    assert PlainHttp(SinkConfig(type="plain")).judge(make_batch(), answer(status, b"anything")) is None


def test_by_default_413_is_halved() -> None:
    with pytest.raises(Rejected) as caught:
        PlainHttp(SinkConfig(type="plain")).judge(make_batch(), answer(413))
    assert (caught.value.reason, caught.value.only) == ("too_large", None)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("7", 7),
        ("86400", 300),
        (30.0, 30),
        (-60.0, 0),
        (86_400.0, 300),
        ("soon", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_measured_from_the_attempts_time(
    header: str | float, expected: float | None
) -> None:
    if isinstance(header, float):  # a date so many seconds after the attempt
        header = formatdate(make_batch().now / 1000 + header, usegmt=True)
    with pytest.raises(Unavailable) as caught:
        PlainHttp(SinkConfig(type="plain")).judge(make_batch(), answer(503, Retry_After=header))
    assert caught.value.retry_after == expected


async def test_a_secret_file_that_cannot_be_read_is_no_bug() -> None:
    class WithSecret(PlainHttp):
        def request(self, batch: Batch) -> Request:
            return Request("http://127.0.0.1:9/", {"X": Secret(path=Path("/nonexistent/token")).get()}, b"")

    sink = WithSecret(SinkConfig(type="plain"))
    await sink.open()
    with pytest.raises(Unavailable) as caught:
        await sink.write(make_batch())
    assert caught.value.reason == "auth"
    await sink.close()


async def test_closing_twice_or_before_opening_does_no_harm() -> None:
    sink = PlainHttp(SinkConfig(type="plain"))
    await sink.close()
    await sink.open()
    await sink.close()
    await sink.close()


# Finding sinks


def test_our_own_sinks_come_through_the_door_that_plugins_use() -> None:
    assert {"splunk_hec", "stdout"} <= set(sink_types())
    for name, entry in sink_types().items():
        kind = load_sink_type(entry)
        assert get_args(kind.Config.model_fields["type"].annotation) == (name,)


@pytest.mark.parametrize("target", ["shipper:Batch", "shipper:check_url", "os:path"])
def test_an_entry_point_that_leads_to_no_sink_is_an_error(target: str) -> None:
    with pytest.raises(TypeError, match="no Sink"):
        load_sink_type(EntryPoint("x", target, "shipper.sinks"))


def test_an_entry_point_that_leads_nowhere_is_an_import_error() -> None:
    with pytest.raises(ImportError):
        load_sink_type(EntryPoint("x", "not_installed:Sink", "shipper.sinks"))


def test_every_name_behind_the_door_can_be_had() -> None:
    assert all(getattr(shipper, name) is not None for name in shipper.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        shipper.no_such_name  # noqa: B018


def test_sinks_use_only_the_door(request: pytest.FixtureRequest) -> None:
    folder = request.config.rootpath / "sinks"
    for file in folder.glob("*.py"):
        for line in file.read_text().splitlines():
            if "shipper" in line and line.lstrip().startswith(("import ", "from ")):
                assert line.startswith("from shipper import "), f"{file.name}: {line}"


def test_shipper_never_imports_sinks(request: pytest.FixtureRequest) -> None:
    for file in (request.config.rootpath / "shipper").rglob("*.py"):
        for line in file.read_text().splitlines():
            assert not line.lstrip().startswith(("import sinks", "from sinks")), f"{file}: {line}"


def test_made_up_events_ascend_in_id_and_time() -> None:
    events = make_events(200, first=86_300)  # over midnight
    assert [event.id for event in events] == sorted({event.id for event in events})
    assert [event.time for event in events] == sorted({event.time for event in events})
