"""Token-bucket rate limiting."""

from bucketeer.bucket import TokenBucket
from bucketeer.clock import Clock, ManualClock, SystemClock
from bucketeer.limiter import AcquireTimeout, KeyState, Limiter
from bucketeer.rate import Rate

__all__ = ["AcquireTimeout", "Clock", "KeyState", "Limiter", "ManualClock", "Rate", "SystemClock", "TokenBucket"]
