"""hotcache: a size-bounded LRU cache with expiry."""

from hotcache.cache import Cache
from hotcache.clock import ManualClock
from hotcache.ledger import ValueTooLargeError

__version__ = "1.0"
__all__ = ["Cache", "ManualClock", "ValueTooLargeError"]
