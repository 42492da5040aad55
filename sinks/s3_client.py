"""boto3's client for a sink's settings: network, proxy, trust, region, and the role whose credentials it has.

boto3 docs: "Credentials", "Clients". Importing this takes boto3's time.
"""

import logging
from typing import Any, Final

import boto3
import botocore.exceptions as failures
import botocore.session
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.loaders import create_loader

CONNECT_SECS = 10.0

# At debug level, botocore logs the bodies that it sends.
logging.getLogger("botocore").setLevel(logging.WARNING)

_MODELS: Final = create_loader()
"""boto3's descriptions of services, read once for all clients: reading them is most of what making a client takes."""


def client_for(settings: Any) -> Any:
    """An S3 client that tries once and follows nothing."""
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
