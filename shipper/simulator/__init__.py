"""A simulated Auth0 tenant that behaves as the real one has been recorded to: for the demo, load tests and our tests.

It shares no code with the source that reads it, so that neither hides the other's mistakes.

    from shipper.simulator.server import serve
    from shipper.simulator.tenant import Tenant

    tenant = Tenant(events=[b'{"log_id":"900...","type":"s"}'], plan="none")
    async with serve(tenant) as running:
        ...  # read running.url; look at tenant.requests; append to tenant.script
"""
