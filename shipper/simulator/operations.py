"""What the Management API's own events (`sapi` and its kin) carry: a whole request and its response."""

from __future__ import annotations

from typing import Any

__all__ = ["management_call"]

Json = Any

_REFRESH = {
    "expiration_type": "expiring", "leeway": 0, "infinite_token_lifetime": False, "infinite_idle_token_lifetime": False,
    "token_lifetime": 2_592_000, "idle_token_lifetime": 1_296_000, "rotation_type": "rotating",
}  # fmt: skip
_CLIENT = {
    "tenant": "acme", "global": False, "is_token_endpoint_ip_header_trusted": False, "name": "«client_name»",
    "is_first_party": True, "oidc_conformant": True, "sso_disabled": False, "cross_origin_auth": False,
    "description": "Portal für Kund·innen in «city»", "refresh_token": _REFRESH, "client_id": "«client_id»",
    "callbacks": [f"https://{name}.example.com/callback" for name in ("app", "stage", "preview", "www", "intern")],
    "allowed_origins": [f"https://{name}.example.com" for name in ("app", "stage", "preview", "www")],
    "allowed_logout_urls": ["https://app.example.com/bye", "https://app.example.com/"],
    "signing_keys": [{"cert": "[REDACTED]", "pkcs7": "[REDACTED]", "subject": "/CN=acme.example.com"}],
    "native_social_login": {"apple": {"enabled": False}, "facebook": {"enabled": False}},
    "jwt_configuration": {"alg": "RS256", "lifetime_in_seconds": 36_000, "secret_encoded": False},
    "client_secret": "[REDACTED]", "app_type": "regular_web", "token_endpoint_auth_method": "client_secret_post",
    "grant_types": ["authorization_code", "implicit", "refresh_token", "client_credentials"],
    "custom_login_page_on": True, "web_origins": [], "client_aliases": [], "mobile": {"ios": {}, "android": {}},
}  # fmt: skip
_PERSON = {
    "user_id": "«user_id»", "email": "«email»", "email_verified": True, "name": "«full_name»", "given_name": "«given»",
    "family_name": "«family»", "picture": "https://cdn.example.com/avatars/«device».png", "phone_number": "«phone»",
    "identities": [{"user_id": "«grant»", "provider": "«strategy»", "connection": "«connection»", "isSocial": False}],
    "user_metadata": {"locale": "«locale»", "city": "«city»", "note": 'prefers "quiet" hours; 50 % part-time\t✓'},
    "app_metadata": {"roles": ["editor", "billing"], "score": 0.30000000000000004, "external": 9007199254740993},
    "last_ip": "«ip»", "logins_count": "«#logins»", "created_at": "2024-02-29T23:59:59.999Z", "updated_at": "«date»",
}  # fmt: skip
_THINGS = ("users", "clients", "logs", "connections", "roles", "grants", "rules", "email_templates")
_SCOPES = [f"{verb}:{thing}" for thing in _THINGS for verb in ("read", "create", "update", "delete")]
_LETTER = "<p>Dear {{ user.given_name }},</p>\n<p>please follow the link to confirm your address.</p>\n"

# method, path, status, request's body, response's body
_CALLS: tuple[tuple[str, str, int, Json, Json], ...] = (
    ("delete", "/api/v2/users/«user_id»", 204, {}, None),
    ("patch", "/api/v2/users/«user_id»", 200, {"app_metadata": {"roles": ["editor"]}}, _PERSON),
    ("post", "/api/v2/users/«user_id»/roles", 204, {"roles": ["rol_«grant»", "rol_«device»"]}, None),
    ("post", "/api/v2/users", 201, {**_PERSON, "password": "*****"}, _PERSON),
    ("patch", "/api/v2/clients/«client_id»", 200, {**_CLIENT, "client_secret": "*****"}, _CLIENT),
    ("post", "/api/v2/client-grants", 201, {"client_id": "«client_id»", "scope": _SCOPES}, {"scope": _SCOPES}),
    ("post", "/api/v2/tickets/password-change", 201, {"user_id": "«user_id»", "ttl_sec": 432_000}, {"ticket": "*****"}),
    ("patch", "/api/v2/email-templates/verify_email", 200, {"body": _LETTER * 6, "enabled": True}, {"enabled": True}),
    ("post", "/api/v2/organizations/«organization_id»/members", 204, {"members": ["«user_id»"]}, None),
    ("put", "/api/v2/connections/«connection_id»", 200, {"options": {"mfa": {"active": True}}, "name": "«connection»"},
     {"id": "«connection_id»", "strategy": "«strategy»", "enabled_clients": ["«client_id»", "«machine_id»"]}),
)  # fmt: skip


def management_call(v: int) -> Json:
    """Details of one call of the Management API; `v` chooses which."""
    method, path, status, body, result = _CALLS[v % len(_CALLS)]
    request = {
        "method": method, "path": path, "query": {}, "userAgent": "«raw_agent»", "body": body, "channel": "api",
        "ip": "«ip»",
        "auth": {"user": {}, "strategy": "jwt", "credentials": {"jti": "«jti»", "scopes": _SCOPES[: 9 + v]}},
    }  # fmt: skip
    response = {"statusCode": status, **({"body": result} if result is not None else {})}
    return {"request": request, "response": response, **({"accessedSecrets": ["client_secret"]} if v % 9 == 8 else {})}
