"""Independent seeds derived from one. Every use of randomness has its own name, so adding one does
not change the others."""

import hashlib


def derive(seed: int, *names: str | int) -> int:
    """A 31-bit seed that depends on `seed` and on every name, stable over versions and machines."""
    text = ":".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") & 0x7FFFFFFF
