"""From names in the registry to what is joined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import FeatureError
from udfs.io.s3 import S3Options
from udfs.stores.history.files import file_system, find_files
from udfs.stores.registry.base import FeatureRef
from udfs.stores.registry.sql import SqlRegistry
from udfs.stores.training.base import WantedFeatures

_SQL = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INT",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.string(): "STRING",
    pa.large_string(): "STRING",
    pa.date32(): "DATE",
}
_DIGITS = {"ms": 3, "us": 6}


def references(names: Sequence[str]) -> list[FeatureRef]:
    """Raises `FeatureError` for what is not VIEW_vVERSION:FEATURE."""
    found = []
    for name in names:
        view, _, feature = name.partition(":")
        if not view or not feature:
            raise FeatureError(f"{name!r} is not VIEW_vVERSION:FEATURE")
        found.append(FeatureRef(view, feature))
    return found


def wanted_of(
    registry: SqlRegistry,
    inputs: Sequence[tuple[str, FeatureRef]],
    entities: Mapping[str, str],
    history: str,
    prefix: bool = False,
) -> list[WantedFeatures]:
    """One for each view. `inputs`: what a feature becomes (empty: its own name, or with `prefix`) -> feature.
    `history`: the place below which each view has a folder. Raises `RegistryError`."""
    views: dict[str, list[tuple[str, str]]] = {}
    for name, ref in inputs:
        views.setdefault(ref.view, []).append((name, ref.feature))
    found = []
    for view, pairs in views.items():
        stored = registry.stored(view)
        columns = tuple(entities.get(name, name) for name, _ in stored.entity)
        names = tuple(name for name, _ in pairs)
        where = f"{history.rstrip('/')}/{view}"
        features = tuple(feature for _, feature in pairs)
        found.append(WantedFeatures(stored, features, columns, where, prefix, names if all(names) else ()))
    return found


def label_columns(labels: str, options: S3Options) -> pa.Schema:
    """The columns of the label files: of the first, which the others must be like. Raises `FeatureError`."""
    files = find_files(labels, options)
    if not files:
        raise FeatureError(f"there are no labels at {labels}")
    system, _ = file_system(labels, options)
    try:
        return pq.read_schema(files[0], filesystem=system)
    except (OSError, pa.ArrowException) as e:
        raise FeatureError(f"the labels {files[0]} cannot be read: {e}") from None


def sql_types(schema: pa.Schema) -> dict[str, str]:
    """Column -> Flink SQL type. Raises `FeatureError` where Flink's Parquet reader has none."""
    found = {}
    for field in schema:
        if pa.types.is_timestamp(field.type) and field.type.unit in _DIGITS:
            zone = "_LTZ" if field.type.tz else ""
            found[field.name] = f"TIMESTAMP{zone}({_DIGITS[field.type.unit]})"
        elif field.type in _SQL:
            found[field.name] = _SQL[field.type]
        else:
            raise FeatureError(
                f"column {field.name!r} of the labels is {field.type}: write it as numbers, text, bool, date "
                "or timestamps in milliseconds or microseconds"
            )
    return found
