"""The closed list of reasons, and what to do about each.

One word stands in the log field `reason`, in metric labels, in `/api/status`, on dead letters and as a heading of the
runbook, so that a person can search for what an alarm says and land here.
"""

from typing import Literal, get_args

Reason = Literal[
    "auth",
    "forbidden",
    "not_found",
    "redirected",
    "throttled",
    "server_error",
    "unreachable",
    "tls",
    "timeout",
    "bad_answer",
    "unacknowledged",
    "refused",
    "too_large",
    "too_old",
    "undecodable",
    "redaction",
    "journal_full",
    "disk_full",
    "io",
    "retention",
    "operator",
    "bug",
]

REASONS: tuple[Reason, ...] = get_args(Reason)

WHAT_TO_DO: dict[Reason, str] = {
    "auth": "The credentials are not accepted: put a valid token, key or client secret in place; nothing is lost meanwhile.",
    "forbidden": "The credentials are valid but may not do this: grant the named scope, index or permission.",
    "not_found": "The address, index or bucket does not exist there: correct the configuration or create it.",
    "redirected": "The address answers with a redirect, which is never followed: configure the final address.",
    "throttled": "The other end asks for patience: wait; if it lasts, raise its limit or lower the load of others.",
    "server_error": "The other end fails by itself: look at its health; delivery goes on as soon as it recovers.",
    "unreachable": "No connection: check address, DNS, route, firewall and proxy.",
    "tls": "The TLS connection is not trusted: check certificate, host name, date, and tls.ca_file.",
    "timeout": "No answer in time: check the other end and the network, or raise request.timeout_secs.",
    "bad_answer": "The answer makes no sense for this service: check the address and what stands in between (proxy, login page).",
    "unacknowledged": "Taken but not confirmed: check that the destination indexes; the events are sent again.",
    "refused": "The other end refuses what is sent. A sink: read the dead letters' details, correct its configuration or ours; where it refuses everything, nothing was given up: `--accept-dead 1` (of `shipper retry`, or of a replay) lets one through, to be read. A source: its checkpoint is rejected; see the note.",
    "too_large": "An event exceeds the destination's limit: see the dead letter; raise the limit there if that is possible.",
    "too_old": "An event is older than the destination takes: see the sink's too_old setting.",
    "undecodable": "The source sends something that is no JSON: read it by hand, then step over it with `shipper checkpoint set`.",
    "redaction": "The sink's redact could not be applied, so nothing was sent: put the file of its hmac_key in place; of a dead letter, read it and decide.",
    "journal_full": "The journal or the dead letters have reached their limit: clear the cause of the backlog, or raise the limit.",
    "disk_full": "The state directory's file system is full: free some space; work resumes by itself.",
    "io": "The disk reports errors: look at the kernel log and replace it; start again on a sound disk.",
    "retention": "The source kept its events for a shorter time than we were away: the gap is recorded; nothing can fetch it from there now. Look for another copy of that time, and check retention_days.",
    "operator": "Someone asked for this: see the audit list.",
    "bug": "The program itself erred: report type and place from the log; the data is kept and tried again.",
}

HELD: frozenset[Reason] = frozenset(
    {"auth", "forbidden", "not_found", "redirected", "tls", "refused", "undecodable", "journal_full", "operator"}
)
"""With these, time alone heals nothing: the lane or source is *held*, waiting for a person, and tried again slowly."""
