"""The Management API's rate limit: one token bucket a tenant, sized by its plan.

Auth0 docs: "Rate Limit Configurations" (per plan), "Rate Limit Policy" (headers).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["PLANS", "Bucket", "Grant"]

# burst (requests), sustained (requests a second)
PLANS: dict[str, tuple[int, float]] = {
    "free": (2, 2.0),
    "essentials": (10, 100 / 60),
    "professional": (10, 100 / 60),
    "enterprise": (50, 16.0),
    "enterprise_nonprod": (10, 2.0),
    "private_cloud": (50, 50.0),
    "private_cloud_dev": (20, 20.0),
}


@dataclass(frozen=True, slots=True)
class Grant:
    """The bucket's answer to one request, with what its three headers say."""

    allowed: bool
    limit: int
    remaining: int
    reset: int

    def headers(self) -> dict[str, str]:
        """As the Management API names them."""
        return {
            "x-ratelimit-limit": str(self.limit),
            "x-ratelimit-remaining": str(self.remaining),
            "x-ratelimit-reset": str(self.reset),
        }


class Bucket:
    """Holds up to `burst` requests and regains `rate` a second. The time is always the caller's."""

    def __init__(self, burst: int, rate: float, now: float) -> None:
        self.burst = burst
        self.rate = rate
        self._held = float(burst)
        self._at = now

    def take(self, now: float) -> Grant:
        """Ask for one request at `now` (unix seconds of the tenant's clock); a refused one costs nothing.

        `reset` is the second at which one more request is allowed, not the one at which the bucket is full.
        """
        self._held = min(self.burst, self._held + max(0.0, now - self._at) * self.rate)
        self._at = now
        # 1e-9: a request made exactly at the promised second must not fail for a rounding error.
        allowed = self._held >= 1.0 - 1e-9
        if allowed:
            self._held = max(0.0, self._held - 1.0)
        remaining = math.floor(self._held + 1e-9)
        missing = remaining + 1 - self._held
        return Grant(allowed, self.burst, remaining, math.ceil(now + missing / self.rate - 1e-6))
