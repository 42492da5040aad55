"""What an event's type code means: its name, its category, and how the thing that it tells of came out.

Auth0: codes and names from its docs ("Log Event Type Codes"), the schemas of its tenant logs, and older lists, where
those have codes that today's pages lack; categories from "Log Event Filters". Logto has keys instead of codes, made of
parts: their prefixes are in its console's and core's sources. No list is complete, so the table is advice: a code that
is not in it passes, in the category `other`.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

Outcome = Literal["success", "failure", "other"]


class EventType(NamedTuple):
    """code: as in the event; with a `*` at its end where it stands for all that begin so.

    category: Auth0's own, or for Logto's keys, whose outcome is elsewhere, one of those without its last part. outcome:
    None where each event says for itself. name: Auth0's, and behind a colon what tells it from others of that name; ""
    for a code that is not known.
    """

    code: str
    category: str
    outcome: Outcome | None
    name: str


OTHER = "other"
"""The category of whatever has no other: Auth0 publishes one of this name, too."""

# A category, then its codes: code, outcome, name.
_AUTH0 = """
auth.login.success:
s success Success Login
scoa success Success cross-origin authentication
sdel success Successful Delegated Login
sens success Success Exchange: native social login
auth.login.fail:
f failure Failed Login
fc failure Failed by Connector
fco failure Failed by CORS
fcoa failure Failed cross-origin authentication
fens failure Failed Exchange: native social login
fp failure Failed Login (Incorrect Password)
fu failure Failed Login (Invalid Email/Username)
auth.login.notification:
scv success Success Credential Validation
w other Warning During Login
auth.logout.success:
oidc_backchannel_logout_succeeded success Successful OIDC Back-Channel Logout request
slo success Success Logout
universal_logout_succeeded success Successful Universal Logout request
auth.logout.fail:
federated_logout_failed failure Failed Federated Logout
flo failure Failed Logout
oidc_backchannel_logout_failed failure Failed OIDC Back-Channel Logout request
universal_logout_failed failure Failed Universal Logout request
auth.signup.success:
ss success Success Signup
auth.signup.fail:
fs failure Failed Signup
auth.silent_auth.success:
sdelsa success Successful Delegated Silent Authentication
ssa success Success Silent Auth
auth.silent_auth.fail:
fdelsa failure Failed Delegated Silent Authentication
fsa failure Failed Silent Auth
auth.token_exchange.success:
ciba_exchange_succeeded success Successful CIBA Exchange
feta failure Failed Exchange: token vault
idjag_exchange_succeeded success Success Exchange: identity assertion
sdeleacft success Successful Exchange of Delegated Authorization Code for Access Token
seacft success Success Exchange: authorization code
seccft success Success Exchange: client credentials
secte success Success Exchange: custom token exchange
sede success Success Exchange: device code
seoobft success Success Exchange: password and out-of-band challenge
seotpft success Success Exchange: password and one-time password
sepft success Success Exchange: password
sepkoobft success Success Exchange: passkey and out-of-band challenge
sepkotpft success Success Exchange: passkey and one-time password
sepkrcft success Success Exchange: passkey and recovery code
sercft success Success Exchange: password and recovery code
sertft success Success Exchange: refresh token
seta success Success Exchange: token vault
success_on_behalf_of_token_exchange success Success Exchange: on behalf of a user
auth.token_exchange.fail:
ciba_exchange_failed failure Failed CIBA Exchange
failed_on_behalf_of_token_exchange failure Failed Exchange: on behalf of a user
fdeleacft failure Failed to Exchange Delegated Authorization Code for Access Token
feacft failure Failed Exchange: authorization code
feccft failure Failed Exchange: client credentials
fecte failure Failed Exchange: custom token exchange
fede failure Failed Exchange: device code
feoobft failure Failed Exchange: password and out-of-band challenge
feotpft failure Failed Exchange: password and one-time password
fepft failure Failed Exchange: password
fepotpft failure Failed Exchange: passwordless one-time password
fercft failure Failed Exchange: password and recovery code
ferrt failure Failed Exchange: rotating refresh token
fertft failure Failed Exchange: refresh token
idjag_exchange_failed failure Failed Exchange: identity assertion
jwt_bearer_exchange_failed failure Failed Exchange: JWT bearer assertion
management.success:
mgmt_api_read success Management API read Operation
sapi success Success API Operation
user.success:
connected_accounts_connection_succeeded success Successful Connected Account Connection
connected_accounts_delete_succeeded success Successful Connected Account Delete
my_account_authentication_method_succeeded success Successful authentication method operation in My Account API
sce success Success Change Email
scp success Success Change Password
scpn success Success Change Phone Number
scpr success Success Change Password Request
scu success Success Change Username
sd success Success Delegation
sdu success Success User Deletion
srrt success Successfully revoked a refresh token
ss_sso_success success Success SS-SSO Operation
sui success Successfully imported users
sv success Success Verification Email
svr success Success Verification Email Request
user.fail:
connected_accounts_connection_failed failure Failed Connected Account Connection
connected_accounts_delete_failed failure Failed Connected Account Delete
fce failure Failed Change Email
fcp failure Failed Change Password
fcph failure Failed Post Change Password Hook
fcpn failure Failed Change Phone Number
fcpr failure Failed Change Password Request
fcu failure Failed Change Username
fd failure Failed Delegation
fdeaz failure Failed Device Authorization Request
fdecc failure User Canceled Device Confirmation
fdu failure Failed User Deletion
fn failure Failed Sending Notification
fv failure Failed Verification Email
fvr failure Failed Verification Email Request
my_account_authentication_method_failed failure Failed authentication method operation in My Account API
ss_sso_failure failure Failed SS-SSO Operation
user.notification:
cs success Code Sent
gd_enrollment_complete success MFA enrollment complete
gd_start_enroll success MFA Enroll started
gd_unenroll success Unenroll device account
gd_update_device_account success Update device account
ss_sso_info other Information from an SS-SSO Operation
ublkdu success User login block released
system.notification:
acul_sdk_notice other ACUL SDK Notice
admin_update_launch other Auth0 Update Launched
api_limit failure Rate Limit on the Authentication or Management APIs
api_limit_warning other Rate Limit Warning on the Authentication or Management APIs
appi other Notice for API Peak Performance initiated
coff other AD/LDAP Connector is offline
con other AD/LDAP Connector is online and working
custom_domain_verification_failed failure Custom Domain Verification Failed
depnote other Deprecation Notice
directory_sync_completed success Inbound Directory Sync Completed
directory_sync_failed failure Inbound Directory Sync Failed
directory_sync_started other Inbound Directory Sync Started
fcpro failure Failed Connector Provisioning
fui failure Failed users import
limit_delegation failure Too Many Calls to /delegation
limit_mu failure Blocked IP Address
limit_phone failure Blocked Phone Delivery - Too many phone delivery attempts
limit_wc failure Blocked Account: wrong logins from one address
sys_os_update_end other Auth0 OS Update Ended
sys_os_update_start other Auth0 OS Update Started
sys_update_end other Auth0 Update Ended
sys_update_start other Auth0 Update Started
scim.event:
fscim failure Failed SCIM Operation
sscim success Successful SCIM Operation
actions:
actions_execution_failed failure Actions Execution Failed
other:
acls_summary other Network ACLs Summary
ciba_start_failed failure Failed CIBA Start
ciba_start_succeeded success Successful CIBA Start
cls success Code/Link Sent
du other Deleted User
fapi failure Failed API Operation
fdeac failure Failed Device Activation
fi failure Failed invite accept
flows_execution_completed success Flows Execution Completed
flows_execution_failed failure Flows Execution Failed
forms_submission_failed failure Forms Submission Failed
forms_submission_succeeded success Forms Submission Succeeded
fpar failure Failed Pushed Authorization Request
fpurh failure Failed Post User Registration Hook
gd_auth_email_verification success Email Verification Confirmed
gd_auth_fail_email_verification failure Email Verification Failed: confirming
gd_auth_failed failure MFA Auth failed
gd_auth_rejected failure MFA Auth rejected
gd_auth_succeed success MFA Auth success
gd_module_switch other Module switch
gd_otp_rate_limit_exceed failure Too many MFA failures
gd_recovery_failed failure Recovery failed
gd_recovery_rate_limit_exceed failure Multi-factor recovery code has failed too many times
gd_recovery_succeed success MFA recovery success
gd_send_email success MFA Email Sent
gd_send_email_verification success Email Verification Sent
gd_send_email_verification_failure failure Email Verification Failed: sending
gd_send_pn success Push notification sent
gd_send_pn_failure failure Error Sending MFA Push Notification
gd_send_sms success MFA SMS Sent
gd_send_sms_failure failure Error Sending MFA SMS
gd_send_voice success MFA voice call success
gd_send_voice_failure failure MFA voice call failed
gd_start_auth success Second factor started
gd_start_enroll_failed failure MFA Enrollment Failed
gd_tenant_update success Guardian tenant update
gd_user_delete other User delete
gd_webauthn_challenge_failed failure WebAuthn browser error: challenge
gd_webauthn_enrollment_failed failure WebAuthn browser error: enrollment
kms_key_management_failure failure Failed KMS API Operation
kms_key_management_success success Success KMS API Operation
kms_key_state_changed other KMS Key State Change
limit_sul failure Blocked Account: too many logins
limit_ui failure Too Many Calls to /userinfo
mfar other MFA Required
organization_member_added success Organization Member Added
passkey_challenge_failed failure Passkey Challenge Failed
passkey_challenge_started success Passkey Challenge Started
pla other Pre-login assessment
pwd_leak failure Breached password
reset_pwd_leak failure Breached Password on Reset
resource_cleanup success Success Resource Cleanup
rich_consents_access_error failure Rich Consents Access Error
scph success Success Post Change Password Hook
si success Successfully accepted a user invite
signup_pwd_leak failure Breached Password on Signup
token_quota_consumption_warning other M2M token quota consumption warning
too_many_records other Max Amount of Authenticators
wn other Warning Sending Notification
wum other Warning User Management
"""

# Logto: the beginning of a key, category, name. The longest that fits counts.
_LOGTO = """
Action. actions Custom action
ExchangeTokenBy. auth.token_exchange Token exchange
Interaction. other Interaction
Interaction.ForgotPassword. user Forgotten password
Interaction.Register. auth.signup Registration
Interaction.SignIn. auth.login Sign-in
JwtCustomizer. actions Custom token claims
RevokeGrants user Grants revoked
RevokeToken user Token revoked
SamlApplication. auth.login SAML application
TrustedDevice. user Trusted device
Unknown other Not classified by Logto
"""


def _read_auth0(table: str) -> list[EventType]:
    types: list[EventType] = []
    category = ""
    for line in table.strip().splitlines():
        if line.endswith(":"):
            category = line[:-1]
            continue
        code, outcome, name = line.split(" ", 2)
        types.append(EventType(code, category, _OUTCOMES[outcome], name))
    return types


def _read_logto(table: str) -> list[EventType]:
    rows = [line.split(" ", 2) for line in table.strip().splitlines()]
    return [EventType(f"{start}*", category, None, name) for start, category, name in sorted(rows, reverse=True)]


_OUTCOMES: dict[str, Outcome] = {each: each for each in get_args(Outcome)}
_BY_CODE = {each.code: each for each in _read_auth0(_AUTH0)}
# In descending order a longer beginning stands before a shorter one of it.
_BY_PREFIX = {each.code[:-1]: each for each in _read_logto(_LOGTO)}

EVENT_TYPES: tuple[EventType, ...] = (*_BY_CODE.values(), *reversed(_BY_PREFIX.values()))
"""All that are known: Auth0's codes by category, then the beginnings of Logto's keys."""

CATEGORIES: frozenset[str] = frozenset(each.category for each in EVENT_TYPES)


def event_type(code: str) -> EventType:
    """What is known of this code or key; of an unknown one that it is in `other`, and nothing of its outcome."""
    known = _BY_CODE.get(code)
    if known is not None:
        return known
    # Auth0's codes have no capitals, Logto's keys begin with one.
    for start, of_kind in _BY_PREFIX.items() if code[:1].isupper() else ():
        if code.startswith(start):
            return of_kind._replace(code=code)
    return EventType(code, OTHER, None, "")


def outcome_of(kind: EventType, event: Mapping[str, Any]) -> Outcome:
    """How it came out. event: all of it, parsed; Logto's say so in `payload.result`."""
    if kind.outcome is not None:
        return kind.outcome
    payload = event.get("payload")
    result = payload.get("result") if isinstance(payload, dict) else None
    if result == "Success":
        return "success"
    return "failure" if result == "Error" else "other"


def in_category(category: str, wanted: str) -> bool:
    """Whether it is that one, or one below it: `auth.login.fail` is in `auth.login` and in `auth`."""
    return category == wanted or category.startswith(f"{wanted}.")
