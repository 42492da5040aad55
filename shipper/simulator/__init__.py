"""A simulated Auth0 tenant that behaves as the real one has been recorded to: for the demo, load tests and our tests.

It shares no code with the source that reads it, so that neither hides the other's mistakes.

    tenant = Tenant(events=[b'{"log_id":"900...","type":"s"}'], plan="none")
    async with serve(tenant) as running:
        ...  # read running.url; look at tenant.requests; append to tenant.script
"""

from shipper.simulator.answer import Answer, Asked, json_answer
from shipper.simulator.options import Options, described
from shipper.simulator.server import Running, main, run, serve
from shipper.simulator.tenant import Tenant

__all__ = ["Answer", "Asked", "Options", "Running", "Tenant", "described", "json_answer", "main", "run", "serve"]
