"""The baseline for Logto: reads page after page of a list that must stand still meanwhile, and throws it away."""

import asyncio
import os
from itertools import count

import aiohttp


async def main() -> None:
    """Every page, newest first, to the empty one."""
    tenant = os.environ["TENANT_URL"]
    form = {"grant_type": "client_credentials", "resource": "https://default.logto.app/api", "scope": "all"}
    client = aiohttp.BasicAuth(os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"])
    async with aiohttp.ClientSession(raise_for_status=True) as session:
        async with session.post(f"{tenant}/oidc/token", data=form, auth=client) as answer:
            session.headers["Authorization"] = f"Bearer {(await answer.json())['access_token']}"
        for number in count(1):
            async with session.get(f"{tenant}/api/logs?page={number}&page_size=100") as page:
                if await page.read() == b"[]":
                    return


if __name__ == "__main__":
    asyncio.run(main())
