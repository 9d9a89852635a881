"""Quality in batch, from the prediction store: the numbers that the stream told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import unquote

import msgspec
import pyarrow as pa

from schemas.errors import StoreError
from schemas.features.declarations import FeatureType
from schemas.features.feature_batch import TIMESTAMP
from udfs.io.s3 import S3Options
from udfs.lifecycle.outcomes.counting import COUNTED, Counter
from udfs.lifecycle.outcomes.judging import Judging
from udfs.lifecycle.outcomes.rows import FLOAT, INT, MODEL, TEXT, TIME
from udfs.lifecycle.quality.windows import Quality, QualityKey
from udfs.stores.history.files import by_row_group, conform, file_system, find_files, parquet_file

_TYPES: dict[str, FeatureType] = {
    "fate": TEXT,
    "revision": INT,
    "score": FLOAT,
    "outcome": FLOAT,
    "replaced": FLOAT,
    "version": INT,
    "plan": TEXT,
    "plan_version": INT,
    "experiments": TEXT,
    "answers": TEXT,
    "scores": TEXT,
    "judged": TEXT,
    "kind": TEXT,
    TIMESTAMP: TIME,
}
_PARTS = ("model", "version", "plan", "plan_version", "experiment", "arm", "candidate")


def stored_quality(
    location: str, s3: S3Options, *, window_ms: int, threshold: float = 0.5, slices: Sequence[str] = ()
) -> Quality:
    """Of all rows below `location`, the store of one data type: a folder, or `s3://BUCKET/PREFIX/TYPE`.

    Raises `StoreError` where there are no rows, where they were judged by several scores, or where a column
    is missing.
    """
    quality, judging, judged_by = Quality(), None, None
    data_type = location.rstrip("/").rpartition("/")[2]
    for path, model, batch in stored_rows(location, s3, [*_TYPES, *slices]):
        rows = _counted(batch, model, slices, path)
        for score, kind in {*zip(_texts(rows, "judged"), _texts(rows, "kind"), strict=True)}:
            if judged_by not in (None, (score, kind)):
                said = " and ".join(f"{of} ({what})" for of, what in (judged_by, (score, kind)))
                raise StoreError(f"predictions at {location} are judged by {said}: read the days of one")
            fields = dict.fromkeys(slices, "string")
            judged_by = score, kind
            judging = judging or Judging.of_stored(
                score, kind, threshold=threshold, fields=fields, slices=tuple(slices)
            )
        assert judging is not None
        Counter(data_type, judging, window_ms, most_keys=1 << 62).count(quality, rows)
    if judging is None:
        raise StoreError(f"there are no predictions at {location}")
    return quality


def told_apart_by(quality: Quality, by: Sequence[str]) -> Quality:
    """Sums of whole windows or since the start (`window` in `by`), with only the parts `by` told apart.

    Slices are named as they are. What is of experiments and of candidates is in it only where `by` says so.
    """
    found = Quality()
    for key, sums in quality.sums.items():
        if (key.window >= 0) is not ("window" in by):
            continue
        of_experiment = bool({"experiment", "arm"}.intersection(by))
        if bool(key.experiment) is not of_experiment or bool(key.candidate) is not ("candidate" in by):
            continue
        parts = {name: getattr(key, name) for name in _PARTS if name in by}
        slices = tuple((name, value) for name, value in key.slices if name in by)
        coarse = QualityKey(window=key.window, data_type=key.data_type, slices=slices, **parts)
        found.merge(Quality({coarse: sums}))
    return found


def stored_rows(
    location: str, s3: S3Options, needed: Sequence[str], *, others: bool = False
) -> Iterator[tuple[str, str, pa.RecordBatch]]:
    """Path, model and rows, file by file: the columns `needed`, and with `others` all that there are.

    Raises `StoreError` where one is missing or a file cannot be read.
    """
    files, _ = file_system(location, s3)
    for path in find_files(location, s3):
        model = next((unquote(p[6:]) for p in path.split("/") if p.startswith("model=")), "")
        try:
            with files.open_input_file(path) as opened:
                file = parquet_file(opened)
                lacking = [n for n in needed if n not in file.schema_arrow.names]
                if lacking:
                    raise StoreError(f"{path} has no column {', '.join(lacking)}: is it a prediction store?")
                for batch in by_row_group(file, None if others else needed):
                    yield path, model, batch
        except (OSError, pa.ArrowException) as e:
            raise StoreError(f"{path} cannot be read: {e}") from e


def _counted(batch: pa.RecordBatch, model: str, slices: Sequence[str], path: str) -> pa.RecordBatch:
    rows = conform(batch.select(list(_TYPES)), _TYPES, path)
    columns = {name: rows.column(name) for name in _TYPES}
    columns[MODEL] = pa.array([model] * batch.num_rows, pa.string())
    columns |= {name: batch.column(name) for name in slices}
    assert set(COUNTED) <= set(columns)
    return pa.RecordBatch.from_pydict(columns)


def _texts(rows: pa.RecordBatch, name: str) -> list[str]:
    return rows.column(name).to_pylist()


def name_parts(key: QualityKey, by: Sequence[str]) -> dict[str, str | int]:
    """What a key tells apart, by name."""
    values = msgspec.structs.asdict(key) | dict(key.slices)
    return {name: values.get(name, "") for name in by}
