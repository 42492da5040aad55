"""One bucket through boto3: the few calls that the S3 sink makes, and what their failures mean.

Everything here blocks, and importing it takes boto3's time: for the sink's own threads. Amazon S3 docs: "Error
responses" (the codes), "PutObject"; boto3 docs: "Credentials", "Clients" (which threads may share).
"""

import logging
import re
from collections.abc import Mapping
from typing import Any, Final

import boto3
import botocore.exceptions as failures
import botocore.session
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.loaders import create_loader
from botocore.parsers import ResponseParserError
from multidict import CIMultiDict, CIMultiDictProxy

from shipper import Answer, Batch, HttpSink, Reason, Rejected, SinkConfig, Unavailable

CONNECT_SECS = 10.0
MAX_PROBE_BYTES = 4096

# At debug level, botocore logs the bodies that it sends.
logging.getLogger("botocore").setLevel(logging.WARNING)

_MODELS: Final = create_loader()
"""boto3's descriptions of services, read once for all clients: reading them is most of what making a client takes."""

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
    (failures.SSLError, "tls", "the TLS connection failed"),
    (failures.ProxyConnectionError, "unreachable", "the proxy can't be reached"),
    (failures.ConnectTimeoutError, "timeout", "no connection in time"),
    (failures.ReadTimeoutError, "timeout", "no answer in time"),
    (failures.EndpointConnectionError, "unreachable", "no connection"),
    (failures.HTTPClientError, "unreachable", "the connection was lost"),
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


class Store:
    """The bucket of a sink's settings. Raises botocore's errors, for `outcome_of`, and PermissionError for reads."""

    def __init__(self, config: SinkConfig) -> None:
        settings: Any = config
        self._client = _client(settings)
        self._where = {"Bucket": settings.bucket}
        if settings.expected_bucket_owner:
            self._where["ExpectedBucketOwner"] = settings.expected_bucket_owner
        how = {
            "StorageClass": settings.storage_class,
            "ServerSideEncryption": settings.sse,
            "SSEKMSKeyId": settings.kms_key_id,
        }
        self._how = {name: value for name, value in how.items() if value}

    def put(self, key: str, body: bytes, checksum: str, metadata: Mapping[str, str]) -> bool:
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
                ContentType="application/x-ndjson",
                Metadata=metadata,
                IfNoneMatch="*",
            )
        except failures.ClientError as error:
            if _status(error) == 412:
                return False
            raise
        if not answer.get("ETag"):
            raise Unavailable("bad_answer", "HTTP 200 without an ETag: no answer of an S3 store")
        return True

    def metadata_of(self, key: str) -> dict[str, str]:
        """An object's metadata. Raises PermissionError where that may not be read."""
        return dict(self._read(self._client.head_object, Key=key)["Metadata"])

    def body_of(self, key: str) -> bytes:
        """The beginning of an object. Raises PermissionError where it may not be read."""
        body = self._read(self._client.get_object, Key=key)["Body"]
        with body:
            return bytes(body.read(MAX_PROBE_BYTES))

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
            if _status(error) == 403:
                raise PermissionError from None
            raise


def outcome_of(error: Exception, batch: Batch) -> Unavailable | Rejected:
    """What a failed call means. Raises errors again that are no failure of the store's or of the way there."""
    if isinstance(error, failures.ClientError):
        return _by_code(error, batch)
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
    if "if-none-match" in " ".join(map(str, details.values())).lower():
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


# -- the client --------------------------------------------------------------------------------------------------------


def _client(settings: Any) -> Any:
    session = _session(settings)
    if settings.role_arn:
        session = _in_role(session, settings)
    client = boto3.Session(botocore_session=session, region_name=settings.region or None).client(
        "s3", endpoint_url=settings.endpoint_url or None
    )
    client.meta.events.register("before-call.s3", _stay_here)
    return client


def _session(settings: Any) -> botocore.session.Session:
    """A session whose every client, those that fetch credentials included, has our network settings."""
    session = botocore.session.get_session()
    session.register_component("data_loader", _MODELS)
    session.set_default_client_config(_network(settings))
    if settings.region:
        session.set_config_variable("region", settings.region)
    if settings.tls.ca_file is not None:
        session.set_config_variable("ca_bundle", str(settings.tls.ca_file))
    return session


def _network(settings: Any) -> Config:
    request, tls = settings.request, settings.tls
    proxies = {"none": {}, "": None}.get(settings.proxy, {"http": settings.proxy, "https": settings.proxy})
    return Config(
        # Trying again is delivery's part.
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=min(CONNECT_SECS, request.timeout_secs),
        read_timeout=request.timeout_secs,
        max_pool_connections=2 * request.concurrency,
        proxies=proxies,
        client_cert=(str(tls.cert_file), str(tls.key_file or tls.cert_file)) if tls.cert_file else None,
        # The bucket in the path, not in the host's name, which other stores' certificates and DNS seldom know.
        s3={"addressing_style": "path"} if settings.endpoint_url else None,
        response_checksum_validation="when_required",
        user_agent_extra="identity-log-shipper",
    )


def _in_role(session: botocore.session.Session, settings: Any) -> botocore.session.Session:
    """A session whose credentials are those of the role, renewed before they expire."""
    own = session.get_credentials()
    if own is None:
        raise failures.NoCredentialsError
    more = {"RoleSessionName": "identity-log-shipper"}
    if settings.external_id:
        more["ExternalId"] = settings.external_id
    fetcher = AssumeRoleCredentialFetcher(session.create_client, own, settings.role_arn, extra_args=more)
    credentials = DeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method="assume-role")
    role = _session(settings)
    role.register_component("credential_provider", _Found(credentials))
    return role


class _Found:
    """botocore's resolver of credentials, where they are known."""

    def __init__(self, credentials: Any) -> None:
        self._credentials = credentials

    def load_credentials(self) -> Any:
        return self._credentials


def _stay_here(context: dict[str, Any], **_: object) -> None:
    # By itself the client asks where the bucket is and repeats the request there, outside of every retry setting.
    context.setdefault("s3_redirect", {})["redirected"] = True
