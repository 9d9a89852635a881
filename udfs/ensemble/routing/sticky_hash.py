"""One candidate for each entity, by weights, the same in every process: weighted rendezvous hashing.

Each candidate draws a number for the entity, and the highest draw wins (Thaler and Ravishankar, "Using
name-based mappings to increase hit rates", IEEE/ACM Transactions on Networking 6(1), 1998). With the draw
`-weight / ln(u)`, u uniform in (0, 1), a candidate wins its weight's share (the logarithmic method of
Schindelhauer and Schomaker, "Weighted distributed hash tables", SPAA 2005). A candidate that comes takes its
share from the others, one that goes leaves its share to them, and no other entity moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


def draw(entities: Sequence[bytes], weights: Mapping[str, float], salt: str = "") -> NDArray[np.intp]:
    """For each entity the index of its candidate in `sorted(weights)`; weights are above zero.

    Another `salt` gives independent draws.
    """
    key = _key(salt)
    drawn = _hashed(entities, key)
    scores = np.empty((len(weights), len(entities)))
    for i, name in enumerate(sorted(weights)):
        own = int.from_bytes(blake2b(name.encode(), digest_size=8, key=key).digest(), "little")
        # 53 bits fill a double; the half keeps 0 and 1 out
        u = ((_mixed(drawn ^ np.uint64(own)) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        scores[i] = -weights[name] / np.log(u)
    return scores.argmax(axis=0)


def draw_place(entities: Sequence[bytes], shares: Iterable[float], salt: str) -> NDArray[np.intp]:
    """For each entity a place in `shares`, at most ten. It depends on the places alone: a draw must not
    change with a name."""
    return draw(entities, {str(at): share for at, share in enumerate(shares)}, salt)


def within(lie: NDArray[np.float64], part: tuple[float, float]) -> NDArray[np.bool_]:
    """For each of `places` whether it is in a population, which holds its beginning and not its end."""
    low, high = part
    return (low <= lie) & (lie < high)


def places(entities: Sequence[bytes], salt: str) -> NDArray[np.float64]:
    """Where each entity lies in [0, 1), evenly; of shape (n,). Independent of `draw`, whatever its salt."""
    return (_hashed(entities, _key(salt), b"places") >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _key(salt: str) -> bytes:
    return blake2b(salt.encode(), digest_size=32).digest()


def _hashed(entities: Sequence[bytes], key: bytes, person: bytes = b"") -> NDArray[np.uint64]:
    hashed = [blake2b(entity, digest_size=8, key=key, person=person).digest() for entity in entities]
    return np.frombuffer(b"".join(hashed), dtype="<u8")


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output function of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): every bit depends on every bit."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
