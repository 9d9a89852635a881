"""How often windows without drift alarm, whether a small shift is named at once, and what counting costs.

Windows without drift are drawn as counts, which is the same as drawing their records; the windows with a
shift, and those that are timed, are made of records and counted as a job counts them.
"""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from bench.features import FIELDS
from bench.watch import GATHERED, in_python
from udfs.lifecycle.drift.distances import bounds
from udfs.lifecycle.drift.reference import Reference
from udfs.lifecycle.drift.settings import DriftSettings
from udfs.lifecycle.statistics.bins import BINS, Bins, count_numbers
from udfs.lifecycle.statistics.table import TableStatistics

FEATURES, WINDOW, LOOKS, TRAINING = 200, 20_000, 10, 1_000_000
NAMED = 0.95
"""Of windows in which a feature has moved by 0.05 standard deviations, those in which it must be named."""
SAMPLE = 0.01
SHIFTS = (0.05, 0.06, 0.075)
DOUBT = 0.01
EDGES = tuple(NormalDist().inv_cdf(k / BINS) for k in range(1, BINS))


def drift(windows: int, seed: int) -> dict[str, float | int | bool]:
    """The figures of `windows` windows of each kind."""
    rng = np.random.default_rng(seed)
    settings = DriftSettings(window=WINDOW)
    print(f"{FEATURES} features, windows of {WINDOW}, {LOOKS} looks at each, training set of {TRAINING} rows")
    even = np.full(BINS, 1 / BINS)
    known = _reference(rng.multinomial(TRAINING, even, size=FEATURES))
    false = sum(_alarms(rng, known, even, settings) for _ in range(windows))
    rate = settings.false_alarms
    most = most_of(windows, rate, DOUBT)  # of 1,000 windows one
    print(f"{windows} windows without drift at {rate} each: with more than {most} alarms it would not hold")
    figures: dict[str, float | int | bool] = {
        "windows": windows,
        "false_alarms": false,
        "false_alarms_expected": windows * rate,
        "false_alarms_most": most,
        "chance_of_more_than_one": more_than(1, windows, rate),
    }
    for shift in SHIFTS:
        named, others = _shifted(rng, known, shift, windows, settings)
        figures[f"named_at_{shift}_sigma"] = named / windows
        figures[f"others_named_at_{shift}_sigma"] = others
    figures |= _cost(rng)
    figures |= _throughput()
    for name, value in figures.items():
        print(f"{name:40} {value:.4g}")
    return {**figures, "held": bool(false <= most and figures["named_at_0.05_sigma"] >= NAMED)}


def _throughput() -> dict[str, float]:
    """Processor time that watching a sample takes of serving, in Python; by the size of micro-batches."""
    with tempfile.TemporaryDirectory(prefix="millrace-prove-") as folder:
        found = in_python("network of 11 fields", FIELDS, Path(folder))
    return {
        f"cost_in_throughput_in_batches_of_{size}": SAMPLE
        * found[f"counting_us_in_batches_of_{size}"]
        / found["serving_us"]
        for size in GATHERED
    }


def more_than(count: int, of: int, rate: float) -> float:
    """The probability of more than `count` alarms in `of` independent windows."""
    return 1 - sum(math.comb(of, k) * rate**k * (1 - rate) ** (of - k) for k in range(min(count, of) + 1))


def most_of(of: int, rate: float, doubt: float) -> int:
    """The alarms that `of` windows exceed with a probability of at most `doubt`."""
    return next(count for count in range(of + 1) if more_than(count, of, rate) <= doubt)


def _reference(counts: NDArray[np.int64]) -> Reference:
    return Reference.counted([str(k) for k in range(len(counts))], _cells(counts), np.ones(len(counts), bool))


def _cells(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """With the cells of missing values and of texts, which stay empty."""
    return np.pad(counts, ((0, 0), (1, 1)))


def _found(
    known: Reference, counts: NDArray[np.int64], settings: DriftSettings, *, closed: bool = True
) -> NDArray[np.bool_]:
    alpha = settings.false_alarms / FEATURES
    near = bounds(known, _cells(counts), alpha, settings.window, closed=closed).distances
    return np.logical_or.reduce([near[name] > limit for name, limit in settings.tolerance.items()])


def _alarms(
    rng: np.random.Generator, known: Reference, shares: NDArray[np.float64], settings: DriftSettings
) -> bool:
    """Whether a window in which nothing has changed alarms at any look, for any feature."""
    counts = np.zeros((FEATURES, BINS), np.int64)
    for look in range(1, LOOKS + 1):
        counts += rng.multinomial(WINDOW // LOOKS, shares, size=FEATURES)
        if _found(known, counts, settings, closed=look == LOOKS).any():
            return True
    return False


def _shifted(
    rng: np.random.Generator, known: Reference, shift: float, windows: int, settings: DriftSettings
) -> tuple[int, int]:
    """In how many windows the one feature that moved is named by the window's end, and others that are."""
    named = others = 0
    edges, even = np.array(EDGES), np.full(BINS, 1 / BINS)
    for _ in range(windows):
        counts = rng.multinomial(WINDOW, even, size=FEATURES)
        counts[0] = count_numbers(rng.normal(size=WINDOW) + shift, edges)
        found = _found(known, counts, settings)
        named += int(found[0])
        others += int(found[1:].sum())
    return named, others


def _cost(rng: np.random.Generator) -> dict[str, float]:
    """Processor time of counting a record of all features, and of judging a window."""
    how = {str(k): Bins(EDGES) for k in range(FEATURES)}
    table = TableStatistics.counted_in(how)
    batches = [{name: rng.normal(size=1024) for name in how} for _ in range(4)]
    table.add_columns(batches[0])
    start = time.process_time()
    for batch in batches * 3:
        table.add_columns(batch)
    counted = (time.process_time() - start) / (12 * 1024)
    known = _reference(rng.multinomial(TRAINING, np.full(BINS, 1 / BINS), size=FEATURES))
    counts = _cells(rng.multinomial(WINDOW, np.full(BINS, 1 / BINS), size=FEATURES))
    start = time.process_time()
    for _ in range(10):
        bounds(known, counts, 1e-6, WINDOW, closed=True)
    judged = (time.process_time() - start) / 10
    return {
        "us_per_record": counted * 1e6,
        "ns_per_value": counted / FEATURES * 1e9,
        "ms_per_judged_window": judged * 1e3,
        "bytes_of_counts_per_feature": float(BINS * 8),
    }
