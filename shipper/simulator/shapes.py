"""The `details` of each shape of event, and which of the other fields such an event has.

«name» stands for a value of the flow or the event, "«#name»" for one that is no string. `v` varies an event of a
type: recorded events of one type differ in which fields are there, and some fields change between string and list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from shipper.simulator.operations import management_call

__all__ = ["SHAPES", "Shape"]

Json = Any


class Shape(NamedTuple):
    """`parts`: groups of fields beside details: u user, c connection, m machine client, o organization,
    t audience and scope, l place, x security context."""

    parts: str
    details: Callable[[int], Json]


_ERROR = {"type": "oauth-authorization", "message": "the transaction «transaction» can't go on", "uri": ""}


def _login(v: int) -> Json:
    prompts: list[Json] = [
        {"name": "prompt-authenticate", "completedAt": "«#epoch»", "connection": "«connection»",
         "connection_id": "«connection_id»", "strategy": "«strategy»", "identity": "«grant»",
         "stats": {"loginsCount": "«#logins»"}, "session_user": "«device»", "elapsedTime": "«#ms»"},
        {"name": "login", "flow": "universal-login", "initiatedAt": "«#epoch»", "completedAt": "«#epoch»",
         "user_id": "«user_id»", "user_name": "«email»", "timers": {"rules": 5}, "elapsedTime": "«#ms»"},
    ]  # fmt: skip
    if v % 4 == 3:
        prompts.insert(1, {"name": "consent", "grantInfo": {"id": "«grant»", "expiration": None}, "elapsedTime": 812})
    details = {
        "prompts": prompts, "initiatedAt": "«#epoch»", "completedAt": "«#epoch»", "elapsedTime": "«#ms»",
        "session_id": "«session»", "transaction_id": "«transaction»", "stats": {"loginsCount": "«#logins»"},
        "device_id": "v0:«jti»",
    }  # fmt: skip
    if v % 2 == 0:
        details["riskAssessment"] = _risk(v)
    if v % 5 == 1:
        details["actions"] = {"executions": ["«jti»", "«trace»"]}
    return details


def _risk(v: int) -> Json:
    return {
        "confidence": ("low", "medium", "high")[v % 3], "version": "1",
        "assessments": {
            "UntrustedIP": {"confidence": "high", "code": "not_found_on_deny_list"},
            "NewDevice": {"confidence": "low" if v % 2 else "high", "code": "match", "details":
                          {"device": "known", "useragent": "known" if v % 2 else "unknown"}},
            "ImpossibleTravel": {"confidence": "high", "code": "minimal_travel_from_last_login"},
            "PhoneNumber": {"confidence": "neutral", "code": "assessment_not_available"},
        },
    }  # fmt: skip


def _login_fail(v: int) -> Json:
    if v % 6 == 5:
        return None
    if v % 6 == 4:
        return "invalid_user_password: «email»"
    body = {
        "client_id": "«client_id»", "username": "«email»", "password": "*****", "connection": "«connection»",
        "tenant": "acme", "state": "«transaction»", "redirect_uri": "https://app.example.com/callback",
        "scope": "openid profile email", "response_type": "code", "_intstate": "deprecated",
    }  # fmt: skip
    return {"body": body, "error": {**_ERROR, "oauthError": "invalid_grant", "payload": {"attempts": 1 + v}},
            "session_id": "«session»", "transaction_id": "«transaction»"}  # fmt: skip


def _exchange(v: int) -> Json:
    details: Json = {
        "code": "****************************************«grant»",
        "session_id": "«session»", "transaction_id": "«transaction»", "access_token_jti": "«jti»",
        "token_endpoint_auth_method": "client_secret_basic" if v % 2 else "private_key_jwt",
        "actions": {"executions": ["«trace»"]}, "references": {"correlation_id": "«trace»"},
        "grantInfo": {"id": "«grant»", "audience": "https://api.example.com/", "expiration": None, "scope":
                      "openid profile email offline_access read:orders create:orders update:profile read:invoices"},
    }  # fmt: skip
    if v % 3 == 1:
        details["familyId"] = "rt_family_«grant»"
        details["tokenCounter"] = "«#logins»"
    return details


def _exchange_fail(_v: int) -> Json:
    body = {"grant_type": "authorization_code", "client_id": "«client_id»", "code_verifier": "*****",
            "redirect_uri": "https://app.example.com/callback?lang=«locale»"}  # fmt: skip
    return {"error": {**_ERROR, "code": "«transaction»"}, "body": body, "session_id": "«session»"}


def _machine(v: int) -> Json:
    return {"actions": {"executions": ["«trace»"] if v % 2 else []}, "access_token_jti": "«jti»",
            "token_endpoint_auth_method": "client_secret_post", "correlation_id": "«trace»"}  # fmt: skip


def _user(v: int) -> Json:
    if v % 7 == 6:
        return None
    return {
        "title": "Done for «full_name»", "email": "«email»", "email_verified": bool(v % 2), "tenant": "acme",
        "body": {"client_id": "«client_id»", "connection": "«connection»", "email": "«email»", "ticket": "*****",
                 "user_metadata": {"given_name": "«given»", "family_name": "«family»", "locale": "«locale»",
                                   "greeting": 'Hello "«given»" 👋\nhow are you?', "phone": "«phone»"}},
        "query": {"user_id": "«user_id»", "includeEmailInRedirect": False}, "transaction_id": "«transaction»",
    }  # fmt: skip


def _user_fail(v: int) -> Json:
    if v % 4 == 3:
        return "The operation for «email» was refused"
    return {"error": {"message": "refused: «given» «family»", "reason": "policy", "stack": _stack()},
            "body": {"connection": "«connection»", "email": "«email»", "user_id": "«user_id»"}}  # fmt: skip


def _stack() -> str:
    lines = [f"    at {name} (/data/io/{name}.js:{17 * n}:{n})" for n, name in enumerate(("run", "call", "next"), 3)]
    return "\n".join(["Error: refused", *lines])


def _signup(v: int) -> Json:
    person = {"name": "«full_name»", "newsletter": "yes" if v % 2 else "no"}
    transaction = {"id": "«transaction»", "locale": "«locale»", "protocol": "oauth2-token"}
    body = {"client_id": "«client_id»", "connection": "«connection»", "email": "«email»", "password": "*****"}
    return {"body": {**body, "tenant": "acme", "transaction": transaction, "user_metadata": person}}


def _logout(v: int) -> Json:
    return {"return_to": "https://app.example.com/bye?l=«locale»", "session_id": "«session»",
            "allowed_logout_url": ["https://app.example.com/bye", "https://app.example.com/"],
            "initiatedAt": "«#epoch»", "elapsedTime": "«#ms»", "sessions_ended": 1 + v % 3}  # fmt: skip


def _silent(_v: int) -> Json:
    return {"initiatedAt": "«#epoch»", "completedAt": "«#epoch»", "elapsedTime": "«#ms»", "session_id": "«session»",
            "stats": {"loginsCount": "«#logins»"}, "prompts": [], "transaction_id": "«transaction»",
            "redirect_uri": "https://app.example.com/silent", "response_mode": "web_message"}  # fmt: skip


def _silent_fail(_v: int) -> Json:
    return {"error": {**_ERROR, "oauthError": "login_required"}, "session_id": "«session»", "body": {},
            "qs": {"client_id": "«client_id»", "prompt": "none", "scope": "openid profile", "state": "«transaction»",
                   "nonce": "«grant»", "response_mode": "web_message"}}  # fmt: skip


def _mfa(v: int) -> Json:
    return {
        "request": {"ip": "«ip»", "method": "POST", "path": "/api/start-flow", "query": {}, "body":
                    {"state_transport": "polling"}, "auth": {"scopes": ["enroll", "authenticate"], "strategy":
                    "jwt_ticket", "subject": "«user_id»", "jti": "«jti»"}},
        "authenticator": {"id": "«device»", "type": ("push", "sms", "otp", "webauthn-roaming")[v % 4],
                          "phone_number": "«phone»"},
        "enrollment": {"_id": "«device»", "user_id": "«user_id»", "name": "Телефон «given»", "tenant": "acme"},
        "session_id": "«session»", "remember_browser": bool(v % 2), "elapsedTime": "«#ms»",
    }  # fmt: skip


def _limit(v: int) -> Json:
    return {"limit": {"bucket": "global", "global": True, "size": 50, "usage": 40 + v}, "request":
            {"method": "GET", "path": "/api/v2/users?q=email:«email»"}, "response": {"statusCode": 429},
            "count": "«#ms»"}  # fmt: skip


def _system(_v: int) -> Json:
    return {"feature": "«machine_name»", "id": "«grant»", "documentation": "https://example.com/docs/«locale»",
            "reference": "«jti»", "seen": "«#logins»"}  # fmt: skip


def _scim(_v: int) -> Json:
    person = {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "«email»", "active": True,
              "name": {"givenName": "«given»", "familyName": "«family»", "formatted": "«full_name»"},
              "emails": [{"value": "«email»", "type": "work", "primary": True}], "preferredLanguage": "«locale»",
              "phoneNumbers": [{"value": "«phone»", "type": "mobile"}]}  # fmt: skip
    request = {"method": "post", "path": "/scim/v2/connections/«connection_id»/Users", "ip": "«ip»", "query": {},
               "userAgent": "SCIM client 2.1 (Größe 3)", "body": person}  # fmt: skip
    return {"action": "create-user", "connection_id": "«connection_id»", "request": request,
            "response": {"statusCode": 201, "body": {**person, "id": "«user_id»"}}}  # fmt: skip


def _action(v: int) -> Json:
    return {"action_id": "«jti»", "action_name": "Add roles → «client_name»", "trigger_id": "post-login",
            "binding_id": "«grant»", "execution_id": "«trace»", "version_id": "«device»", "error_class": "TypeError",
            "stats": {"total_request_duration_ms": "«#ms»", "steps": v}, "stack": _stack()}  # fmt: skip


def _acls(v: int) -> Json:
    stats = [{"acl_id": f"acl_{n}«grant»", "description": f"Rule {n}", "action": "block", "priority": n,
              "match": {"successes": "«#ms»"}, "total_request_count": {"successes": "«#logins»"}}
             for n in range(1, 3 + v % 4)]  # fmt: skip
    return {"start_time": "«date»", "end_time": "«date»", "stats": stats}


def _pre_login(v: int) -> Json:
    return {"requiresVerification": bool(v % 2), "ipOnAllowlist": not v % 3, "session_id": "«session»",
            "requiresVerificationForSignupFlow": False, "riskAssessment": _risk(v)}  # fmt: skip


SHAPES: dict[str, Shape] = {
    "login": Shape("ucotlx", _login),
    "login_fail": Shape("uclx", _login_fail),
    "exchange": Shape("ucotx", _exchange),
    "exchange_fail": Shape("uclx", _exchange_fail),
    "machine": Shape("mtx", _machine),
    "api": Shape("ml", management_call),
    "user": Shape("uclx", _user),
    "user_fail": Shape("uc", _user_fail),
    "signup": Shape("uclx", _signup),
    "logout": Shape("uclx", _logout),
    "silent": Shape("uctlx", _silent),
    "silent_fail": Shape("clx", _silent_fail),
    "mfa": Shape("uclx", _mfa),
    "sent": Shape("ucl", _user),
    "limit": Shape("ml", _limit),
    "risk": Shape("uclx", _pre_login),
    "scim": Shape("mcl", _scim),
    "sso": Shape("c", _system),
    "job": Shape("uc", _system),
    "kms": Shape("m", _system),
    "action": Shape("uco", _action),
    "acls": Shape("", _acls),
    "system": Shape("", _system),
}
