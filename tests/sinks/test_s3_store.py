"""Against stores that check what they are sent: SeaweedFS, and moto's server for roles and keys."""

import asyncio
import gzip
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from moto.server import ThreadedMotoServer
from s3_case import ALL_RIGHTS, PUT_ONLY, TAKEN, Bucket, error, make_sink, written

from shipper import Batch, Sink, Unavailable
from shipper.testing import Destination, Reply, make_batch, make_events
from sinks.s3 import PROBE, S3

pytestmark = pytest.mark.usefixtures("aws")


def sink_of(bucket: Bucket, **settings: Any) -> S3:
    return make_sink(bucket.url, bucket.name, **settings)


def listening(batch: Batch, notices: list[str], *, replayed: bool = False) -> Batch:
    return msgspec.structs.replace(batch, tell=lambda notice, note: notices.append(notice), replayed=replayed)


async def probed(sink: Sink) -> str:
    await sink.open()
    try:
        return await sink.probe()
    finally:
        await sink.close()


# SeaweedFS


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
async def test_an_object_comes_back_as_it_was_put(bucket: Bucket, compression: str) -> None:
    batch = make_batch(make_events(500))
    sink = sink_of(bucket, compression=compression)
    await written(sink, batch)
    [(key, lines)] = bucket.lines().items()
    assert lines == sink.bodies(batch)
    object_ = bucket.get(key)
    assert object_["ContentType"] == "application/x-ndjson"
    assert object_.get("ContentEncoding", "") == ""
    assert object_["Metadata"]["events"] == "500"


async def test_a_repeated_write_finds_its_object_and_makes_no_second_one(bucket: Bucket) -> None:
    notices: list[str] = []
    await written(sink_of(bucket), make_batch())
    await written(sink_of(bucket), listening(make_batch(), notices))
    assert (len(bucket.keys()), notices) == (1, [])


async def test_an_object_of_another_compressor_is_the_same_object(bucket: Bucket) -> None:
    """As after an update that brings another version of the compressor: what counts are the lines."""
    sink, batch = sink_of(bucket), make_batch()
    await written(sink, batch)
    [key] = bucket.keys()
    metadata, lines = bucket.get(key)["Metadata"], gzip.decompress(bucket.get(key)["Body"])
    bucket.client.put_object(Bucket=bucket.name, Key=key, Body=gzip.compress(lines, 1), Metadata=metadata)
    await written(sink, batch)
    assert bucket.keys() == [key]


async def test_a_strangers_object_is_never_overwritten(bucket: Bucket) -> None:
    sink, batch, notices = sink_of(bucket), make_batch(), list[str]()
    await written(sink, batch)
    [key] = bucket.keys()
    bucket.put(key, b"a stranger's")
    for _ in range(2):
        await written(sink, listening(batch, notices))
    assert bucket.get(key)["Body"] == b"a stranger's"
    assert sorted(bucket.keys()) == sorted([key, key.replace(".jsonl.gz", "-2.jsonl.gz")])
    assert notices == ["key_conflict", "key_conflict"]


async def test_with_the_right_to_put_alone_a_replayed_batch_counts_as_delivered(
    bucket: Bucket, aws: Callable[..., None]
) -> None:
    aws(PUT_ONLY)
    notices: list[str] = []
    await written(sink_of(bucket), make_batch())
    await written(sink_of(bucket), listening(make_batch(), notices, replayed=True))
    assert (len(bucket.keys()), notices) == (1, ["unverified"])
    with pytest.raises(Unavailable, match="s3:GetObject") as caught:
        await written(sink_of(bucket), make_batch())
    assert caught.value.reason == "forbidden"


@pytest.mark.parametrize(
    ("credentials", "reason"),
    [(("nobody-here", "made-up-1"), "auth"), ((ALL_RIGHTS[0], "made-up-2"), "auth")],
)
async def test_wrong_credentials_hold_the_lane(
    bucket: Bucket, aws: Callable[..., None], credentials: tuple[str, str], reason: str
) -> None:
    aws(credentials)
    with pytest.raises(Unavailable) as caught:
        await written(sink_of(bucket), make_batch())
    assert caught.value.reason == reason
    assert credentials[1] not in str(caught.value)


async def test_the_probe_proves_writing_reading_and_listing_and_leaves_one_object(bucket: Bucket) -> None:
    for _ in range(3):
        words = await probed(sink_of(bucket))
        assert words == f"bucket {bucket.name} takes objects and overwrites none"
    [key] = bucket.keys()
    assert key.startswith("auth0/_probe/")
    assert bucket.get(key)["Body"] == PROBE


async def test_the_probe_says_what_verify_would_lack(bucket: Bucket, aws: Callable[..., None]) -> None:
    aws(PUT_ONLY)
    assert (await probed(sink_of(bucket))).endswith(
        "WARNING: digests and `shipper verify` also need s3:GetObject and s3:ListBucket"
    )


async def test_the_probe_raises_like_write(bucket: Bucket, aws: Callable[..., None]) -> None:
    aws(("nobody-here", "made-up"))
    with pytest.raises(Unavailable) as caught:
        await probed(sink_of(bucket))
    assert caught.value.reason == "auth"


async def test_the_probe_tells_a_store_that_overwrites() -> None:
    with (
        Destination(default=TAKEN) as destination,
        pytest.raises(Unavailable, match="in spite of If-None-Match") as caught,
    ):
        await probed(make_sink(destination.url))
    assert caught.value.reason == "refused"
    assert {request.path for request in destination.requests} == {destination.requests[0].path}


async def test_the_probe_tells_a_store_that_changes_objects() -> None:
    script = [error(412, "PreconditionFailed"), Reply(200), Reply(200, PROBE)]
    with Destination(script) as destination, pytest.raises(Unavailable, match="changes objects") as caught:
        await probed(make_sink(destination.url))
    assert caught.value.reason == "bad_answer"


# moto's server: what SeaweedFS has no part for


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


ROLE = {"role_arn": "arn:aws:iam::123456789012:role/archive", "external_id": "made-up-id"}


async def test_keys_classes_and_encryption_are_what_the_store_keeps(moto: str) -> None:
    bucket = Bucket(moto, "kept").create()
    await written(sink_of(bucket, sse="aws:kms", kms_key_id="alias/archive", storage_class="STANDARD_IA"), make_batch())
    [key] = bucket.keys()
    kept = bucket.get(key)
    assert (kept["ServerSideEncryption"], kept["SSEKMSKeyId"]) == ("aws:kms", "alias/archive")
    assert kept["StorageClass"] == "STANDARD_IA"


async def test_another_key_or_role_is_proven_by_a_probe_of_its_own(moto: str) -> None:
    bucket = Bucket(moto, "probed").create()
    for settings in ({}, {"sse": "AES256"}, {}):
        await probed(sink_of(bucket, **settings))
    assert len(bucket.keys()) == 2


async def test_a_bucket_that_is_not_there_holds_the_lane(moto: str) -> None:
    with pytest.raises(Unavailable) as caught:
        await written(make_sink(moto, "nowhere"), make_batch())
    assert caught.value.reason == "not_found"


async def test_a_role_is_assumed_and_its_credentials_sign(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Destination(default=TAKEN) as destination:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", moto)
        await written(make_sink(destination.url, **ROLE), make_batch())
        [put] = destination.requests
    assert "x-amz-security-token" in put.headers
    assert "Credential=ASIA" in put.headers["Authorization"]


async def test_the_role_is_asked_for_with_the_external_id_and_renewed_before_it_expires(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    soon, late = datetime.now(UTC) + timedelta(minutes=12), datetime(2100, 1, 1, tzinfo=UTC)
    with (
        Destination([given("one", soon)], default=given("two", late)) as sts,
        Destination(default=TAKEN) as destination,
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        sink = make_sink(destination.url, **ROLE)
        for _ in range(3):
            await sink.write(make_batch())
        await sink.close()
        signed = [put.headers["x-amz-security-token"] for put in destination.requests]
        assert signed == ["token-one", "token-two", "token-two"]
        assert len(sts.requests) == 2
        assert all(b"ExternalId=made-up-id" in request.body for request in sts.requests)


def given(name: str, until: datetime) -> Reply:
    """STS's answer: temporary credentials."""
    return Reply(
        200,
        f"""<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
        <AccessKeyId>key-{name}</AccessKeyId><SecretAccessKey>made-up</SecretAccessKey>
        <SessionToken>token-{name}</SessionToken><Expiration>{until.isoformat()}</Expiration></Credentials>
        </AssumeRoleResult></AssumeRoleResponse>""".encode(),
        {"Content-Type": "text/xml"},
    )


async def test_a_role_that_may_not_be_assumed_holds_the_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    denied = Reply(403, b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>")
    with Destination(default=denied) as sts:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.url)
        with pytest.raises(Unavailable, match="AssumeRole") as caught:
            await written(make_sink("http://127.0.0.1:1", **ROLE), make_batch())
    assert caught.value.reason == "forbidden"


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that is its own authority."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=store", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    subprocess.run([*command, "-keyout", "key.pem", "-out", "cert.pem"], cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem"


@asynccontextmanager
async def secure_store(certificate: Path) -> AsyncIterator[str]:
    """Takes everything from whoever shows this certificate."""

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b'HTTP/1.1 200 OK\r\nETag: "made-up"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n')
            await writer.drain()
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    listener = await asyncio.start_server(take, "127.0.0.1", 0, ssl=context)
    yield f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    listener.close()
    await listener.wait_closed()


async def test_the_configured_authority_is_trusted_and_the_clients_certificate_shown(certificate: Path) -> None:
    tls = {"ca_file": certificate, "cert_file": certificate, "key_file": certificate.with_name("key.pem")}
    notices: list[str] = []
    async with secure_store(certificate) as url:
        await written(make_sink(url, tls=tls), listening(make_batch(), notices))
        assert notices == []
        with pytest.raises(Unavailable):
            await written(make_sink(url, tls={"ca_file": certificate}), make_batch())


async def test_a_store_of_an_unknown_authority_is_not_trusted(certificate: Path) -> None:
    async with secure_store(certificate) as url:
        with pytest.raises(Unavailable) as caught:
            await written(make_sink(url), make_batch())
        assert caught.value.reason == "tls"
