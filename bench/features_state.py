"""How many bytes of state an account has whose trailing day is dense: an event in every minute."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa

from bench.features_workload import VIEW, declare
from bench.plan import BenchError
from schemas.features.feature_batch import EVENT_ID, EVENT_TIME
from udfs.features.base import no_state
from udfs.features.engine import ViewEngine

_ACCOUNTS = 20
_MINUTES = 2 * 24 * 60
_START = 1_800_000_000_000 // 60_000 * 60_000


def bytes_a_key(folder: Path, tile: str) -> int:
    """After two days, of which the first has left the window: what the job writes to Flink's state for one
    entity, its key included, as `operators.features.view_state` writes it; the state backend adds its
    own."""
    declared = declare(folder / "state.toml", tile=tile)
    engine = ViewEngine(declared.views[0], declared, no_state)
    accounts = [f"a{n:04d}" for n in range(_ACCOUNTS)]
    for first in range(0, _MINUTES, 60):
        times = [_START + 60_000 * minute for minute in range(first, first + 60) for _ in accounts]
        columns = {
            "account": accounts * 60,
            "amount": [float(at % 997) for at in times],
            EVENT_TIME: times,
            EVENT_ID: [f"e{first}/{n}" for n in range(len(times))],
        }
        engine.add(pa.RecordBatch.from_pydict(columns))
        engine.advance(times[-1], 0)
    entities = {key: packed for of in engine.changes().entities.values() for key, packed in of.items()}
    if len(entities) != _ACCOUNTS or None in entities.values():
        raise BenchError(f"view {VIEW} has state of {len(entities)} accounts, not of {_ACCOUNTS}")
    sizes = [len(key) + len(pickle.dumps(packed, -1)) for key, packed in entities.items()]
    return max(sizes)
