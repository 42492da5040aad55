"""One bucket through boto3: the few calls that the S3 sink makes, and what their failures mean.

Everything here blocks, and importing it takes boto3's time: for the sink's own threads. Amazon S3 docs: "Error
responses" (the codes), "PutObject"; boto3 docs: "Clients" (which threads may share).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import botocore.exceptions as failures
from botocore.parsers import ResponseParserError
from multidict import CIMultiDict, CIMultiDictProxy

from shipper import Answer, Batch, HttpSink, Reason, Rejected, SinkConfig, Unavailable, tls_trouble
from sinks.s3_client import client_for

MAX_PROBE_BYTES = 4096
PIECE_BYTES = 256 * 1024

_CODES: Final[dict[str, tuple[Reason, str]]] = {
    "AccessDenied": ("forbidden", "this is not allowed to these credentials, or the bucket's owner is another"),
    "AllAccessDisabled": ("forbidden", "all access is disabled"),
    "AuthorizationHeaderMalformed": ("redirected", "the bucket is in another region"),
    "BadDigest": ("bad_answer", "the body was changed on its way"),
    "ConditionalRequestConflict": ("server_error", "another write of this key is under way"),
    "ExpiredToken": ("auth", "the session's token has expired"),
    "ExpiredTokenException": ("auth", "the session's token has expired"),
    "IllegalLocationConstraintException": ("redirected", "the bucket is in another region"),
    "IncompleteBody": ("bad_answer", "the body was cut off on its way"),
    "InvalidAccessKeyId": ("auth", "the access key is not known"),
    "InvalidClientTokenId": ("auth", "the access key is not known"),
    "InvalidObjectState": ("refused", "the object is in an archive tier: restore it first"),
    "InvalidDigest": ("bad_answer", "the body was changed on its way"),
    "InvalidToken": ("auth", "the session's token is not valid"),
    "NoSuchBucket": ("not_found", "there is no bucket of this name"),
    "OperationAborted": ("server_error", "another operation on the bucket is under way"),
    "PermanentRedirect": ("redirected", "the bucket is in another region, or behind another address"),
    "RequestTimeTooSkewed": ("auth", "this machine's clock is wrong"),
    "RequestTimeout": ("timeout", "the body did not arrive in time"),
    "SignatureDoesNotMatch": ("auth", "the secret key is wrong, or something on the way changes requests"),
    "SlowDown": ("throttled", "too many requests for this bucket"),
    "TemporaryRedirect": ("redirected", "the bucket is behind another address"),
    "RequestLimitExceeded": ("throttled", "too many requests"),
    "BandwidthLimitExceeded": ("throttled", "too many requests"),
    "TooManyRequests": ("throttled", "too many requests"),
    "Throttling": ("throttled", "too many requests"),
    "ThrottlingException": ("throttled", "too many requests"),
    "XAmzContentSHA256Mismatch": ("bad_answer", "the body was changed on its way"),
}

_TOO_LARGE: Final = ("EntityTooLarge", "MaxMessageLengthExceeded")

# The first class that fits decides, so special ones come before general ones.
_CAUSES: Final[tuple[tuple[type[BaseException], Reason, str], ...]] = (
    (failures.SSLError, "unreachable", "the connection was lost"),
    (failures.ProxyConnectionError, "unreachable", "the proxy can't be reached"),
    (failures.ConnectTimeoutError, "timeout", "no connection in time"),
    (failures.ReadTimeoutError, "timeout", "no answer in time"),
    (failures.EndpointConnectionError, "unreachable", "no connection"),
    (failures.HTTPClientError, "unreachable", "the connection was lost"),
    (failures.IncompleteReadError, "unreachable", "the answer broke off"),
    (ResponseParserError, "bad_answer", "no answer of an S3 store"),
    (failures.NoCredentialsError, "auth", "no credentials are found"),
    (failures.PartialCredentialsError, "auth", "the credentials are incomplete"),
    (failures.CredentialRetrievalError, "auth", "the credentials can't be had"),
    (failures.MetadataRetrievalError, "auth", "the credentials can't be had"),
    (failures.TokenRetrievalError, "auth", "the credentials can't be had"),
    (failures.SSOError, "auth", "the credentials can't be had"),
    (failures.LoginError, "auth", "the credentials can't be had"),
    (failures.ProfileNotFound, "auth", "AWS's configuration lacks the profile"),
    (failures.ConfigParseError, "auth", "AWS's configuration can't be read"),
    (failures.ConfigNotFound, "auth", "AWS's configuration can't be found"),
    (failures.InvalidConfigError, "auth", "AWS's configuration is wrong"),
    (failures.NoRegionError, "refused", "no region is known: set region"),
)


class Listing(NamedTuple):
    """One answer of LIST: keys with the time when each was written (ms since 1970 UTC), folders, where to go on."""

    keys: dict[str, int]
    folders: list[str]
    more: str


class Pieces:
    """An object's body, piece by piece; to be closed, else its connection stays open."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        """Reads on where it was left."""
        while piece := self._body.read(PIECE_BYTES):
            yield piece

    def close(self) -> None:
        """Lets go of the connection."""
        self._body.close()


class Store:
    """The bucket of a sink's settings. Raises botocore's errors, for `outcome_of`, and PermissionError for reads."""

    def __init__(self, config: SinkConfig) -> None:
        settings: Any = config
        self._client = client_for(settings)
        self._where = {"Bucket": settings.bucket}
        if settings.expected_bucket_owner:
            self._where["ExpectedBucketOwner"] = settings.expected_bucket_owner
        how = {
            "StorageClass": settings.storage_class,
            "ServerSideEncryption": settings.sse,
            "SSEKMSKeyId": settings.kms_key_id,
        }
        self._how = {name: value for name, value in how.items() if value}

    def put(
        self, key: str, body: bytes, checksum: str, metadata: Mapping[str, str], kind: str = "application/x-ndjson"
    ) -> bool:
        """Writes an object unless one of this key is there, which is False. checksum: base64 of the body's SHA-256."""
        try:
            answer = self._client.put_object(
                **self._where,
                **self._how,
                Key=key,
                Body=body,
                # A checksum of the client's own making would travel behind the body, in a form that not every store
                # takes out again.
                ChecksumSHA256=checksum,
                ContentType=kind,
                Metadata=metadata,
                IfNoneMatch="*",
            )
        except failures.ClientError as error:
            if _status(error) == 412:
                return False
            raise
        _must_have(answer, "ETag")
        return True

    def metadata_of(self, key: str) -> dict[str, str]:
        """An object's metadata. Raises PermissionError where that may not be read."""
        return dict(self._read(self._client.head_object, Key=key)["Metadata"])

    def body_of(self, key: str) -> bytes:
        """The beginning of an object. Raises PermissionError where it may not be read."""
        body = self._read(self._client.get_object, Key=key)["Body"]
        with body:
            return bytes(body.read(MAX_PROBE_BYTES))

    def pieces_of(self, key: str) -> tuple[dict[str, str], "Pieces"] | None:
        """An object's metadata and its body, piece by piece; None: it is not there. Raises PermissionError."""
        try:
            answer = self._read(self._client.get_object, Key=key)
        except failures.ClientError as error:
            if _absent(error):
                return None
            raise
        pieces = Pieces(answer["Body"])
        if not answer.get("ETag"):
            pieces.close()
        _must_have(answer, "ETag")
        return dict(answer["Metadata"]), pieces

    def metadata_if_there(self, key: str) -> dict[str, str] | None:
        """An object's metadata; None: it is not there, or not any more. Raises PermissionError."""
        try:
            answer = self._read(self._client.head_object, Key=key)
        except failures.ClientError as error:
            if _absent(error):
                return None
            raise
        _must_have(answer, "ETag")
        return dict(answer["Metadata"])

    def listing(self, prefix: str, more: str = "", *, folders: bool = False) -> Listing:
        """The next keys that begin so, or the folders among them. Raises PermissionError where that may not be read."""
        ways = {"Delimiter": "/"} if folders else {}
        if more:
            ways["ContinuationToken"] = more
        answer = self._read(self._client.list_objects_v2, Prefix=prefix, **ways)
        _must_have(answer, "Name")
        return Listing(
            {one["Key"]: int(one["LastModified"].timestamp() * 1000) for one in answer.get("Contents", [])},
            [one["Prefix"] for one in answer.get("CommonPrefixes", [])],
            answer.get("NextContinuationToken", "") if answer.get("IsTruncated") else "",
        )

    def may_list(self, prefix: str) -> bool:
        """Whether keys may be listed."""
        try:
            self._read(self._client.list_objects_v2, Prefix=prefix, MaxKeys=1)
        except PermissionError:
            return False
        return True

    def close(self) -> None:
        """Closes the connections that are not in use."""
        self._client.close()

    def _read(self, call: Any, **arguments: object) -> Any:
        try:
            return call(**self._where, **arguments)
        except failures.ClientError as error:
            # What is wrong with the credentials themselves has a code that says so.
            if _status(error) == 403 and _CODES.get(_code(error), ("forbidden", ""))[0] == "forbidden":
                raise PermissionError from None
            raise


def _must_have(answer: Mapping[str, Any], name: str) -> None:
    """A proxy's login page would pass for an empty bucket, or for an object without metadata."""
    if not answer.get(name):
        raise Unavailable("bad_answer", f"HTTP 200 without {name}: no answer of an S3 store")


def _absent(error: failures.ClientError) -> bool:
    return _status(error) == 404 and _code(error) in ("", "NoSuchKey", "NotFound")


def in_archive_tier(error: Exception) -> bool:
    """Whether an object can't be read for its storage class."""
    return isinstance(error, failures.ClientError) and _code(error) == "InvalidObjectState"


def outcome_of(error: Exception, batch: Batch) -> Unavailable | Rejected:
    """What a failed call means. Raises errors again that are no failure of the store's or of the way there."""
    if isinstance(error, failures.ClientError):
        return _by_code(error, batch)
    if isinstance(error, failures.BotoCoreError) and (trouble := tls_trouble(error)) is not None:
        return Unavailable("tls", trouble)
    for kind, reason, text in _CAUSES:
        if isinstance(error, kind):
            return Unavailable(reason, f"{text} ({type(error).__name__})")
    raise error


def _by_code(error: failures.ClientError, batch: Batch) -> Unavailable | Rejected:
    """By the error's code; where it has none that is known, by the status. Its message may quote what was sent."""
    details, status, code = error.response.get("Error", {}), _status(error), _code(error)
    headers = CIMultiDict(error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}))
    note = " ".join(filter(None, (f"{error.operation_name}: HTTP {status}", code)))
    if code in _TOO_LARGE:
        return Rejected("too_large", note, detail=str(details.get("Message", "")))
    outcome = HttpSink.by_status(batch, Answer(status, CIMultiDictProxy(headers), b""), note)
    if isinstance(outcome, Rejected):
        return outcome
    reason, text = _CODES.get(code, (outcome.reason, ""))
    # A store in trouble may quote the request's headers, too.
    if status in (400, 501) and "if-none-match" in " ".join(map(str, details.values())).lower():
        reason, text = "refused", "the store can't write conditionally (If-None-Match), which exactly once needs"
    elif not text and status == 409:
        reason, text = "server_error", "another operation is under way"
    elif not text and code and status in (400, 501):
        reason, text = "refused", "the store does not take such a write with these settings"
    if reason == "redirected":
        text += _region_of(headers.get("x-amz-bucket-region") or str(details.get("Region", "")))
    return Unavailable(reason, f"{note}: {text}" if text else note, retry_after=outcome.retry_after)


def _code(error: failures.ClientError) -> str:
    """The error's code, "" where it has none, or one that is no word: what a stranger wrote is not to be logged."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code if re.fullmatch(r"[A-Za-z][A-Za-z0-9.]{0,63}", code) else ""


def _region_of(region: str) -> str:
    return f": set region to {region}" if re.fullmatch(r"[a-z0-9-]{1,32}", region) else ""


def _status(error: failures.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
