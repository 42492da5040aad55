"""The baseline for CPU: what many teams run today, an honest script of one screen.

It asks for a token, reads the tenant's log page by page along `Link` up to the empty page, and posts each page to
Splunk's HTTP Event Collector. It keeps no journal, compresses nothing that it sends, and forgets where it stood.
"""

import json
import os
from datetime import datetime
from typing import Any

import requests

START = "900" + "2000" + "0" * 49
TIMEOUT_SECS = 30


def envelope(event: dict[str, Any], domain: str) -> str:
    """One event as the collector wants it."""
    return json.dumps(
        {
            "time": datetime.fromisoformat(event["date"]).timestamp(),
            "host": domain,
            "source": "auth0",
            "sourcetype": "auth0",
            "event": {"log_id": event["log_id"], "data": event},
        }
    )


def main() -> None:
    """Everything from the oldest event to the newest, once."""
    tenant, domain = os.environ["TENANT_URL"], os.environ["TENANT_DOMAIN"]
    form = {
        "grant_type": "client_credentials",
        "client_id": os.environ["CLIENT_ID"],
        "client_secret": os.environ["CLIENT_SECRET"],
        "audience": f"https://{domain}/api/v2/",
    }
    auth0, splunk = requests.Session(), requests.Session()
    token = auth0.post(f"{tenant}/oauth/token", json=form, timeout=TIMEOUT_SECS)
    token.raise_for_status()
    auth0.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
    splunk.headers["Authorization"] = f"Splunk {os.environ['HEC_TOKEN']}"
    url = f"{tenant}/api/v2/logs?from={START}&take=100"
    while True:
        page = auth0.get(url, timeout=TIMEOUT_SECS)
        page.raise_for_status()
        events = page.json()
        if not events:
            return
        body = "".join(envelope(event, domain) for event in events)
        answer = splunk.post(
            f"{os.environ['HEC_URL']}/services/collector/event", data=body.encode(), timeout=TIMEOUT_SECS
        )
        answer.raise_for_status()
        url = page.links["next"]["url"]


if __name__ == "__main__":
    main()
