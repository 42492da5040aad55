"""Every log event type code that Auth0 has published, with how often it occurs and what its details look like.

Auth0 docs: "Log Event Type Codes", "Log Event Filters", the tenant log schemas; a few codes are only in older lists.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["EVENT_TYPES", "EventType"]


class EventType(NamedTuple):
    """`alone`: occurrences in a cycle beside those in flows; `shape`: a key of `shapes.SHAPES`."""

    code: str
    shape: str
    alone: int
    description: str


# code, shape, occurrences outside flows, description ("-": empty, as it often is)
_TABLE = """
s login 60 Successful login
scoa login 12 Successful cross-origin login
sdel login 2 Delegated login completed
sens login 6 Native social login completed
f login_fail 50 Wrong email or password.
fc login_fail 2 The connector did not accept the credentials
fco login_fail 2 Origin https://app.example.com is not allowed
fcoa login_fail 9 Unknown or invalid login ticket.
fens login_fail 2 Native social login refused
fp login_fail 24 Wrong password.
fu login_fail 20 Unknown user or email address.
scv login 8 Credentials were validated
w login 10 The callback took longer than expected; “offline_access” was dropped
oidc_backchannel_logout_succeeded logout 8 -
slo logout 40 User successfully logged out
universal_logout_succeeded logout 2 All sessions of the user were ended
federated_logout_failed logout 1 The identity provider did not end its session
flo logout 3 The returnTo URL is not on the allowed list
oidc_backchannel_logout_failed logout 2 The application's endpoint answered 502
universal_logout_failed logout 1 Subject not found
ss signup 15 -
fs signup 12 The user already exists.
sdelsa silent 2 Delegated silent authentication completed
ssa silent 220 -
fdelsa silent_fail 1 Login required
fsa silent_fail 70 Login required
ciba_exchange_succeeded exchange 2 Backchannel authentication for access token
feta exchange_fail 2 The token vault has no token for this connection
idjag_exchange_succeeded exchange 1 Identity assertion for access token
sdeleacft exchange 2 Delegated code for access token
seacft exchange 40 Authorization Code for Access Token
seccft machine 280 Client Credentials for Access Token
secte exchange 3 Custom token exchange
sede exchange 5 Device code for access token
seoobft exchange 3 Password and out-of-band challenge for access token
seotpft exchange 4 Password and OTP challenge for access token
sepft exchange 9 Password for access token
sepkoobft exchange 1 Passkey and out-of-band challenge for access token
sepkotpft exchange 1 Passkey and OTP challenge for access token
sepkrcft exchange 1 Passkey and recovery code for access token
sercft exchange 1 Password and recovery code for access token
sertft exchange 320 Refresh Token for Access Token
seta exchange 2 Token vault exchange
success_on_behalf_of_token_exchange exchange 1 On-behalf-of exchange
ciba_exchange_failed exchange_fail 1 The request was not approved in time
failed_on_behalf_of_token_exchange exchange_fail 1 The subject token is not for this audience
fdeleacft exchange_fail 1 The delegated code is not valid
feacft exchange_fail 14 Invalid authorization code
feccft exchange_fail 9 Unauthorized
fecte exchange_fail 1 The Action refused the subject token
fede exchange_fail 3 Authorization pending
feoobft exchange_fail 1 The challenge has expired
feotpft exchange_fail 2 Invalid otp_code.
fepft exchange_fail 4 Wrong email or password.
fepotpft exchange_fail 1 Invalid verification code.
fercft exchange_fail 1 MFA authorization rejected.
ferrt exchange_fail 5 Unknown or invalid refresh token.
fertft exchange_fail 12 Unknown or invalid refresh token.
idjag_exchange_failed exchange_fail 1 The assertion has expired
jwt_bearer_exchange_failed exchange_fail 1 The signature does not verify
mgmt_api_read api 30 Get a client's secrets
sapi api 720 -
connected_accounts_connection_succeeded user 2 Account connected
connected_accounts_delete_succeeded user 1 Account disconnected
my_account_authentication_method_succeeded user 3 Authentication method enrolled
sce user 4 Email address changed
scp user 10 Password changed
scpn user 2 Phone number changed
scpr user 9 Password change was asked for
scu user 2 User name changed
sd user 2 Delegation granted
sdu user 4 User was deleted
srrt user 8 Refresh token revoked
ss_sso_success sso 2 Connection created by self-service
sui job 2 17 users imported
sv user 12 Your email was verified. You can continue using the application.
svr user 9 -
connected_accounts_connection_failed user_fail 1 The provider refused the request
connected_accounts_delete_failed user_fail 1 No such account
fce user_fail 2 The address is in use
fcp user_fail 4 Password is too weak
fcph user_fail 1 The hook threw an exception
fcpn user_fail 1 The number can't receive messages
fcpr user_fail 3 Too many tries
fcu user_fail 1 The user name is taken
fd user_fail 1 Delegation refused
fdeaz user_fail 1 The device flow is off for this client
fdecc user_fail 1 The user declined
fdu user_fail 1 The user does not exist
fn user_fail 3 SMTP server answered 421 4.7.0 try again later
fv user_fail 3 Access expired.
fvr user_fail 2 The mail provider is not set up
my_account_authentication_method_failed user_fail 1 Enrollment was abandoned
ss_sso_failure sso 1 The metadata could not be read
cs sent 6 +1202555XXXX
gd_enrollment_complete mfa 4 Guardian - Enrollment complete (sms)
gd_start_enroll mfa 5 Guardian - Enrollment started
gd_unenroll mfa 2 Guardian - Device unlinked
gd_update_device_account mfa 3 Guardian - Device data updated
ss_sso_info sso 2 The setup was opened
ublkdu user 2 -
acul_sdk_notice system 1 The screen runs on an old SDK
admin_update_launch system 1 Update launched
api_limit limit 5 You passed the global limit of the API
api_limit_warning limit 4 80 % of the global limit are used
appi system 1 Peak performance begins
coff system 1 Connector offline
con system 1 Connector online
custom_domain_verification_failed system 1 No CNAME record found for login.example.com
depnote system 4 The feature “rules” is deprecated
directory_sync_completed job 1 204 users, 3 groups
directory_sync_failed job 1 The directory closed the connection
directory_sync_started job 1 -
fcpro system 1 The connector could not be provisioned
fui job 2 The file has a line that isn't JSON
limit_delegation limit 1 Too many calls
limit_mu limit 3 An IP address is blocked: too many wrong logins for different accounts
limit_phone limit 1 No more messages to this prefix
limit_wc limit 8 An account is blocked for an IP address: too many wrong logins
sys_os_update_end system 1 -
sys_os_update_start system 1 -
sys_update_end system 1 -
sys_update_start system 1 -
fscim scim 2 409: the user exists
sscim scim 14 User provisioned
actions_execution_failed action 6 An Action of the trigger post-login failed
acls_summary acls 3 -
ciba_start_failed mfa 1 Unknown login hint
ciba_start_succeeded mfa 2 -
cls sent 6 Link sent
fdeac user_fail 1 The code has expired
fi user_fail 1 The invitation has expired
flows_execution_completed action 3 -
flows_execution_failed action 1 Step 3 failed: TypeError: can't read "id" of undefined
forms_submission_failed action 1 -
forms_submission_succeeded action 3 -
fpar exchange_fail 1 The request object is too large
fpurh user_fail 1 The hook threw an exception
gd_auth_email_verification mfa 2 -
gd_auth_failed mfa 6 Guardian - Second factor failed (otp)
gd_auth_rejected mfa 3 Guardian - Second factor rejected (push)
gd_auth_succeed mfa 10 Guardian - Second factor succeeded (push)
gd_otp_rate_limit_exceed mfa 1 Too many wrong codes
gd_recovery_failed mfa 1 Wrong recovery code
gd_recovery_succeed mfa 2 -
gd_send_email mfa 3 -
gd_send_email_verification mfa 2 -
gd_send_pn mfa 8 Guardian - Push notification sent
gd_send_pn_failure mfa 1 Device token is gone
gd_send_sms mfa 8 -
gd_send_sms_failure mfa 1 Carrier refused the message
gd_send_voice mfa 2 -
gd_send_voice_failure mfa 1 No answer
gd_start_auth mfa 10 Guardian - Second factor started (push)
gd_start_enroll_failed mfa 1 -
gd_tenant_update system 1 Guardian - Tenant settings changed
gd_webauthn_challenge_failed mfa 1 NotAllowedError
gd_webauthn_enrollment_failed mfa 1 InvalidStateError
kms_key_management_failure kms 1 The key is in use
kms_key_management_success kms 1 Key rotated
kms_key_state_changed kms 1 pre-active → active
limit_sul limit 2 Too many logins for this account
mfar mfa 12 -
organization_member_added user 4 -
passkey_challenge_failed mfa 1 -
passkey_challenge_started mfa 3 -
pla risk 40 Pre-login assessment
pwd_leak risk 3 The password is on a list of leaked ones
reset_pwd_leak risk 1 The new password is on a list of leaked ones
resource_cleanup system 1 Old refresh tokens were removed
rich_consents_access_error user_fail 1 -
si user 2 Invitation accepted
signup_pwd_leak risk 1 The password is on a list of leaked ones
wn user_fail 2 The template has no translation for “pt-BR”
wum user_fail 1 The user profile is larger than advised
du user 1 User was deleted
fapi api 3 Payload validation error: 'Expected type string but found type null' on property name.
gd_auth_fail_email_verification mfa 1 -
gd_module_switch system 1 -
gd_recovery_rate_limit_exceed mfa 1 -
gd_send_email_verification_failure mfa 1 -
gd_user_delete mfa 1 -
limit_ui limit 1 Too many calls to /userinfo
scph user 1 -
token_quota_consumption_warning limit 2 60 % of the hourly quota are used
too_many_records mfa 1 -
"""


def _parse(line: str) -> EventType:
    code, shape, alone, description = line.split(" ", 3)
    return EventType(code, shape, int(alone), "" if description == "-" else description)


EVENT_TYPES = {each.code: each for each in map(_parse, _TABLE.strip().splitlines())}
