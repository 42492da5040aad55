"""An event by the Open Cybersecurity Schema Framework 1.5.0, the release that AWS and Datadog read Auth0's logs by.

OCSF schema 1.5.0: the classes Authentication (3002), Account Change (3001), API Activity (6003) and Base Event (0).
Which type belongs where follows Datadog's pipeline for Auth0, so that both agree, except where that is plainly less
than the schema can say: the factors of a person's login, who asked when it was a machine, the severity.
"""

import re
from typing import Any

from shipper.event import Event, Origin
from shipper.shape.glance import Glance
from shipper.shape.tables import Table

VERSION = "1.5.0"
BASE, ACCOUNT_CHANGE, AUTHENTICATION, API_ACTIVITY = 0, 3001, 3002, 6003
OTHER = 99
_CATEGORIES = {BASE: 0, ACCOUNT_CHANGE: 3, AUTHENTICATION: 3, API_ACTIVITY: 6}
_STATUS = {"success": 1, "failure": 2, "other": 0}
_BY_METHOD = {"POST": 1, "GET": 2, "HEAD": 2, "PUT": 3, "PATCH": 3, "DELETE": 4}
# 1.6.0 is the first release that knows PATCH; the event itself has it in any case.
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT", "TRACE"})
_PRODUCTS = {"auth0": "Auth0", "logto": "Logto"}
_INFORMATIONAL, _LOW = 1, 2
# 3, medium: of someone who tries what they should not, or of a door that was shut for it.
_SEVERITIES = Table(
    """
limit_wc limit_mu limit_sul limit_delegation limit_phone 3
pwd_leak reset_pwd_leak signup_pwd_leak 3
gd_auth_rejected gd_otp_rate_limit_exceed gd_recovery_rate_limit_exceed 3
""",
    columns=1,
)

_email = re.compile(r"[a-zA-Z0-9!#$%&'*+\-/=?^_`{|}~.]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9-.]+").fullmatch

# The class, the activity in it. Whatever is not here is of API Activity.
_TABLE = Table(
    """
auth.login.success auth.login.fail auth.login.notification 3002 1
auth.logout 3002 2
auth 3002 99
auth.signup 3001 1
limit_mu limit_sul limit_wc 3002 1
user 3002 99
scp scpr fcp fcpr 3001 3
sdu fdu 3001 6
gd_enrollment_complete 3001 10
gd_unenroll 3001 11
ublkdu 3001 12
sce scpn scu fce fcpn fcu fcph my_account_* gd_update_device_account gd_otp_rate_limit_exceed 3001 99
organization_member_added 3001 99
scv gd_* passkey_* ciba_* ss_sso_* cls pla mfar 3002 99
pwd_leak reset_pwd_leak signup_pwd_leak fi si fpar fpurh 3002 99
sui gd_tenant_update gd_module_switch gd_user_delete 6003 BY_METHOD
fdeaz fdecc fn connected_accounts_* 6003 BY_METHOD
Interaction.* 3002 99
Interaction.SignIn.Submit 3002 1
Interaction.Register.Submit 3001 1
""",
    columns=2,
)


def ocsf(event: Event, seen: Glance, source: Origin) -> dict[str, Any]:
    """Its attributes, some of them empty. `metadata.uid` comes first: the archive looks for it there.

    An event that lacks what its class requires, such as a user, is of the nearest class that requires less.
    """
    class_uid, activity = _class_of(seen)
    attributes = _of_any_class(event, seen, source, class_uid, activity)
    if class_uid == BASE:
        return attributes
    client = {"app_name": seen.client_name, "app_uid": seen.client_id}
    attributes |= {
        "actor": {"user": _user(seen), **client} if class_uid == API_ACTIVITY else client,
        "src_endpoint": {"ip": seen.address},
        "http_request": {
            "user_agent": seen.user_agent,
            "http_method": seen.method if seen.method in _METHODS else "",
            "url": {"path": seen.path},
        },
    }
    if class_uid == API_ACTIVITY:
        operation = " ".join(filter(None, (seen.method, seen.path))) or event.type
        return attributes | {"api": {"operation": operation, "response": {"code": seen.status}}}
    attributes["user"] = _user(seen) or _machine(seen)
    if class_uid == AUTHENTICATION:
        attributes["service"] = {"name": seen.client_name or _product(source), "uid": seen.client_id}
        attributes["dst_endpoint"] = {"hostname": seen.host}
        attributes["session"] = {"uid": seen.session}
    return attributes


def _of_any_class(event: Event, seen: Glance, source: Origin, class_uid: int, activity: int) -> dict[str, Any]:
    name = seen.kind.name or event.type
    return {
        "metadata": {
            "uid": event.id,
            "version": VERSION,
            "product": {"name": _product(source), "vendor_name": _product(source)},
            "event_code": event.type,
            "log_name": f"{source.type}.logs",
            "log_version": seen.schema,
            "original_time": event.date,
            "tenant_uid": source.tenant,
        },
        "category_uid": _CATEGORIES[class_uid],
        "class_uid": class_uid,
        "activity_id": activity,
        "activity_name": name if activity == OTHER else "",
        "type_uid": class_uid * 100 + activity,
        "time": event.date_ms,
        "severity_id": _severity(seen),
        "status_id": _STATUS[seen.outcome],
        "status_detail": seen.error,
        "message": seen.words or name,
    }


def _product(source: Origin) -> str:
    return _PRODUCTS.get(source.type, source.type)


def _class_of(seen: Glance) -> tuple[int, int]:
    """The class, and the activity in it, for which the event has what is required."""
    row = _TABLE.row(seen.kind)
    class_uid, activity = (int(row[0]), row[1]) if row else (API_ACTIVITY, "BY_METHOD")
    someone = bool(seen.users or seen.client)
    if (class_uid == ACCOUNT_CHANGE and not seen.users) or (class_uid == AUTHENTICATION and not someone):
        class_uid, activity = API_ACTIVITY, "BY_METHOD"
    if class_uid == API_ACTIVITY and not (someone and seen.address):
        return BASE, OTHER
    return class_uid, _BY_METHOD.get(seen.method, OTHER) if activity == "BY_METHOD" else int(activity)


def _user(seen: Glance) -> dict[str, Any]:
    if not seen.users:
        return {}
    email = next((one for one in (seen.email, seen.user_name) if _email(one)), "")
    return {"uid": seen.user_id, "name": seen.user_name, "email_addr": email, "type_id": 1}


def _machine(seen: Glance) -> dict[str, Any]:
    """Where no person is named, it was an application that asked for itself, as in the exchange of its credentials."""
    return {"uid": seen.client_id, "name": seen.client_name, "type_id": 3}


def _severity(seen: Glance) -> int:
    if row := _SEVERITIES.row(seen.kind):
        return int(row[0])
    return _LOW if seen.outcome == "failure" else _INFORMATIONAL
