"""The baseline for speed: reads the chain page by page, each as soon as the one before is in, and throws it away."""

import asyncio
import os

import aiohttp

START = "900" + "2000" + "0" * 49


async def main() -> None:
    """Every page from the oldest to the empty one."""
    tenant, domain = os.environ["TENANT_URL"], os.environ["TENANT_DOMAIN"]
    form = {
        "grant_type": "client_credentials",
        "client_id": os.environ["CLIENT_ID"],
        "client_secret": os.environ["CLIENT_SECRET"],
        "audience": f"https://{domain}/api/v2/",
    }
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        async with session.post(f"{tenant}/oauth/token", json=form) as answer:
            session.headers["Authorization"] = f"Bearer {(await answer.json())['access_token']}"
        url = f"{tenant}/api/v2/logs?from={START}&take=100"
        while True:
            async with session.get(url) as page:
                body = await page.read()
                if body == b"[]":
                    return
                url = str(page.links["next"]["url"])


if __name__ == "__main__":
    asyncio.run(main())
