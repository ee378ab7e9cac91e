"""Coin tosses that belong to a text: the same live and in replay, alone and in a batch."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from router.arrays import Features, FloatArray


def draws(X: Features, seed: int, salt: int = 0) -> FloatArray:
    """(n,) uniform in [0, 1), a hash of each row of X (n, d), the seed and the salt."""
    rows = np.ascontiguousarray(X, dtype=np.float64)
    key = f"{seed} {salt}".encode()[:64]
    numbers = [int.from_bytes(blake2b(row.data, digest_size=6, key=key).digest(), "big") for row in rows]
    return np.array(numbers, dtype=np.float64) / 2.0**48


def salt_of(X: Features) -> int:
    """A number that differs between training sets, so that repeats of an evaluation toss anew."""
    return int.from_bytes(blake2b(np.ascontiguousarray(X, dtype=np.float64).data, digest_size=4).digest(), "big")
