"""An event by the Elastic Common Schema: what it shares with everybody else's, beside the event itself.

ECS reference: "ECS Categorization Fields", whose tables say which `event.type` goes with which `event.category`, and
the field sets of what is filled in here. Elastic's own integration for Auth0 keeps the event below `auth0.logs.data`.
"""

import re
from datetime import UTC, datetime
from typing import Any

from shipper.event import Event, Origin
from shipper.shape.event_types import EventType
from shipper.shape.glance import Glance
from shipper.shape.tables import Table

VERSION = "8.11.0"
_OUTCOMES = {"success": "success", "failure": "failure", "other": "unknown"}
_BY_METHOD = {"GET": "access", "HEAD": "access", "POST": "creation", "DELETE": "deletion"} | dict.fromkeys(
    ("PUT", "PATCH"), "change"
)
_no_word = re.compile(r"[^a-z0-9]+")
# event.category, event.type.
_TABLE = Table(
    """
auth.login authentication start
auth.logout authentication,session end
auth.signup iam user,creation
auth.silent_auth authentication,session info
auth.token_exchange authentication info
management configuration BY_METHOD
user iam user,info
system.notification configuration info
scim.event iam user,change
actions process info
scv authentication info
limit_wc limit_mu limit_sul limit_delegation limit_phone authentication,intrusion_detection info
pwd_leak signup_pwd_leak reset_pwd_leak authentication,intrusion_detection info
api_limit limit_ui api denied
api_limit_warning token_quota_consumption_warning acls_summary api info
sce scp scpn scpr scph scu fce fcp fcpn fcpr fcph fcu iam user,change
ublkdu gd_enrollment_complete gd_unenroll gd_update_device_account gd_start_enroll_failed iam user,change
gd_webauthn_enrollment_failed my_account_* connected_accounts_* iam user,change
sdu fdu du gd_user_delete iam user,deletion
sui fui si fi fpurh iam user,creation
organization_member_added iam group,change
cs cls pla mfar fpar fdeac fdeaz fdecc sd fd srrt too_many_records authentication info
gd_* passkey_* ciba_* ss_sso_* rich_consents_* authentication info
gd_tenant_update gd_module_switch kms_key_state_changed configuration change
fapi kms_key_management_* configuration BY_METHOD
Interaction.* RevokeToken* RevokeGrants* authentication info
Interaction.SignIn.Submit authentication start
Interaction.Register.Submit iam user,creation
""",
    columns=2,
)


def ecs(event: Event, seen: Glance, source: Origin) -> dict[str, Any]:
    """Its fields, some of them empty. `event.id` comes first: the archive looks for it there."""
    categories, types = _TABLE.row(seen.kind) or ("", "info")
    if types == "BY_METHOD":
        types = _BY_METHOD.get(seen.method, "info")
    return {
        "event": {
            "id": event.id,
            "kind": "event",
            "category": categories.split(",") if categories else [],
            "type": types.split(","),
            "outcome": _OUTCOMES[seen.outcome],
            "action": _action(seen.kind),
            "code": event.type,
            "provider": source.type,
            "dataset": f"{source.type}.logs",
        },
        "@timestamp": datetime.fromtimestamp(event.date_ms / 1000, UTC).isoformat(timespec="milliseconds")[:23] + "Z",
        "ecs": {"version": VERSION},
        "message": seen.words or seen.kind.name,
        "log": {"level": "error" if seen.outcome == "failure" else "info"},
        "error": {"message": seen.error},
        "source": {"address": seen.ip, "ip": seen.address},
        "user": {"id": seen.user_id, "name": seen.user_name, "email": seen.email},
        "user_agent": {"original": seen.user_agent},
        "http": {"request": {"method": seen.method}, "response": {"status_code": seen.status}},
        "url": {"domain": seen.host, "path": seen.path},
        "organization": {"name": source.tenant},
        "related": {
            "ip": [seen.address] if seen.address else [],
            "user": list(dict.fromkeys(filter(None, (seen.user_id, seen.user_name, seen.email)))),
        },
    }


def _action(kind: EventType) -> str:
    if not kind.name:
        return f"unknown-{kind.code}"
    # A key of Logto's says more than the name of all that begin like it.
    return kind.code if kind.outcome is None else _no_word.sub("-", kind.name.lower()).strip("-")
