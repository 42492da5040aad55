"""Many small simulated tenants in one process, each with its own domain and port, for the idle rows."""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack

from shipper.simulator.options import Options
from shipper.simulator.server import serve
from shipper.simulator.tenant import Tenant


def domain_of(number: int) -> str:
    """The domain of one of the tenants."""
    return f"tenant{number}.us.auth0.com"


async def main(tenants: int, events: int) -> None:
    """Serves until SIGTERM; one line on stdout names all addresses, in order."""
    stop = asyncio.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(ending, stop.set)
    async with AsyncExitStack() as stack:
        urls = []
        for number in range(tenants):
            tenant = Tenant(Options(domain=domain_of(number), count=events, plan="none"))
            urls.append((await stack.enter_async_context(serve(tenant))).url)
        sys.stdout.write(f"tenants {' '.join(urls)}\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
