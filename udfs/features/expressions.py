"""SQL expressions over the row, by DuckDB over Arrow: the same engine in a stream and in batch, in the
process that has the events anyway.

Types in expressions: int64 and timestamp are BIGINT (`epoch_ms(x)` makes a TIMESTAMP of milliseconds),
float64 is DOUBLE, lists are lists. A result must fit the declared type (a TIMESTAMP is a timestamp).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from schemas.errors import FeatureError
from schemas.features.declarations import Expression, FeatureType
from schemas.features.feature_batch import ARROW
from udfs.features.sql_growth import Size
from udfs.features.sql_rules import ROW, Functions, Parser, functions_of, one_line

_CLOSED: dict[str, Any] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "enable_external_access": "false",
    "max_expression_depth": 250,
    "memory_limit": "1GB",
    "python_enable_replacements": "false",
    "threads": 1,
}
"""No files, no network, no variables of the caller; no threads beside the task's; and what an expression may
take is bounded, so that it fails instead of the process."""

_SQL: Mapping[FeatureType, str] = {
    FeatureType.INT64: "BIGINT",
    FeatureType.FLOAT64: "DOUBLE",
    FeatureType.BOOL: "BOOLEAN",
    FeatureType.STRING: "VARCHAR",
    FeatureType.TIMESTAMP: "BIGINT",
    FeatureType.INT64_LIST: "BIGINT[]",
    FeatureType.FLOAT64_LIST: "DOUBLE[]",
    FeatureType.STRING_LIST: "VARCHAR[]",
}
_INTEGERS = frozenset(
    {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
)
_NUMBERS = _INTEGERS | {"FLOAT", "DOUBLE"}
_TIMES = frozenset({"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE"})
_FITS: Mapping[str, frozenset[str]] = {
    "BIGINT": _INTEGERS,
    "DOUBLE": _NUMBERS,
    "BOOLEAN": frozenset({"BOOLEAN"}),
    "VARCHAR": frozenset({"VARCHAR", "JSON"}),
}


class Expressions:
    """A DuckDB of its own for the expressions of one operator instance, or of one check; made when it is
    first needed. Not thread-safe."""

    def __init__(self) -> None:
        self._db: duckdb.DuckDBPyConnection | None = None
        self._tables = 0
        self._parser: Parser | None = None

    def query(self, steps: Sequence[Expression], types: Mapping[str, FeatureType]) -> Query:
        """`steps` over rows with columns of `types`; a step may read those before it. Raises `FeatureError`,
        in one sentence without the view's name, where a step cannot be computed."""
        known, read, layers = dict(types), set[str](), list[list[str]]()
        if len({name.lower() for name in (*types, *(s.name for s in steps))}) < len(types) + len(steps):
            raise FeatureError("SQL steps need columns whose names differ in more than upper and lower case")
        within = set[str]()
        sizes = {name: _size(kind) for name, kind in types.items()}
        for step in steps:
            try:
                used = self._parsed().columns(step.sql, [*known])
                made = self._parsed().growth(step.sql, sizes)
                text = self._typed(step, known)
            except FeatureError as e:
                raise FeatureError(f"the expression of {step.name!r} {e}") from None
            except (RecursionError, MemoryError) as e:
                raise FeatureError(
                    f"the expression of {step.name!r} cannot be read: {type(e).__name__}"
                ) from None
            if not layers or used & within:
                layers.append([])
                within = set()
            layers[-1].append(f"{text} AS {_quoted(step.name)}")
            within.add(step.name)
            read |= used & set(types)
            known[step.name] = step.type
            sizes[step.name] = made if _size(step.type) else None
        return Query(self, steps, [n for n in types if n in read] or [*types][:1], types, layers)

    def columns(self, sql: str, known: Iterable[str]) -> set[str]:
        """Which of `known` an expression reads. Raises `FeatureError` where it may not be used."""
        return self._parsed().columns(sql, [*known])

    def connection(self) -> duckdb.DuckDBPyConnection:
        if self._db is None:
            self._db = duckdb.connect(":memory:", config=_CLOSED)
            self._db.execute("SET TimeZone = 'UTC'")  # not that of the machine
            self._db.execute("SET lock_configuration = true")
        return self._db

    def table(self) -> str:
        """A name for rows that nobody else has."""
        self._tables += 1
        return f"rows_{self._tables}"

    def close(self) -> None:
        self._parser = None
        if self._db is not None:
            self._db.close()
            self._db = None

    def _parsed(self) -> Parser:
        if self._parser is None:
            found = self._rows(
                "SELECT function_name, function_type, stability, macro_definition, parameters, return_type "
                "FROM duckdb_functions()"
            )
            functions: Functions = functions_of(found)
            self._parser = Parser(self._serialize, functions)
        return self._parser

    def _serialize(self, sql: str) -> str:
        return str(self._rows("SELECT json_serialize_sql(CAST(? AS VARCHAR))", [sql])[0][0])

    def _rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.connection().execute(sql, [*parameters]).fetchall()

    def _typed(self, step: Expression, types: Mapping[str, FeatureType]) -> str:
        """The expression with the cast to its declared type."""
        wanted = _SQL[step.type]
        row = ", ".join(f"CAST(NULL AS {_SQL[kind]}) AS {_quoted(name)}" for name, kind in types.items())
        expression = f"(\n{step.sql}\n)"
        try:
            [described] = self._rows(f"DESCRIBE SELECT {expression} AS x FROM (SELECT {row}) AS {ROW}")
        except duckdb.Error as e:
            raise FeatureError(f"cannot be computed: {one_line(str(e))}") from None
        found = str(described[1])
        if step.type is FeatureType.TIMESTAMP and found in _TIMES:
            return f"epoch_ms{expression}"
        if not _fits(found, wanted):
            raise FeatureError(f"gives {found}, but {step.type} is declared: cast it to {wanted}")
        return f"CAST({expression} AS {wanted})"


class Query:
    """The expressions of neighbouring steps as one query, bound once and run for each batch."""

    def __init__(
        self,
        on: Expressions,
        steps: Sequence[Expression],
        read: Sequence[str],
        types: Mapping[str, FeatureType],
        layers: Sequence[Sequence[str]],
    ) -> None:
        self._on, self._steps, self._layers = on, steps, layers
        self._schema = pa.schema([(name, ARROW[types[name]]) for name in read])
        self._rows = _Rows(self._schema)
        self._relation: Any = None

    def __call__(self, batch: pa.RecordBatch) -> list[pa.Array]:
        """A column for each step. Raises `FeatureError` where an expression fails on one of the rows."""
        try:
            if self._relation is None:
                self._relation = self._bind()
            self._rows.batch = batch.select(self._schema.names)
            table = self._relation.to_arrow_table()
        except duckdb.Error as e:
            names = ", ".join(repr(s.name) for s in self._steps)
            raise FeatureError(f"SQL failed for {names}: {one_line(str(e))}") from None
        finally:
            self._rows.batch = None
        if table.num_rows != batch.num_rows:
            raise FeatureError(f"SQL gave {table.num_rows} rows for {batch.num_rows}")
        return [_whole(table.column(step.name), ARROW[step.type]) for step in self._steps]

    def _bind(self) -> Any:
        table, query = self._on.table(), ""
        db = self._on.connection()
        db.register(table, self._rows)
        for layer in self._layers:
            source = f"({query}) AS {ROW}" if query else f"{table} AS {ROW}"
            query = f"SELECT *, {', '.join(layer)} FROM {source}"
        names = ", ".join(_quoted(step.name) for step in self._steps)
        return db.sql(f"SELECT {names} FROM ({query}) AS {ROW}")


class _Rows:
    """What DuckDB reads whenever a query runs: to register every batch anew would cost as much again."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self.batch: pa.RecordBatch | None = None

    def __arrow_c_schema__(self) -> Any:
        return self._schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        batches = [] if self.batch is None else [self.batch]
        schema = self._schema if self.batch is None else self.batch.schema
        return pa.RecordBatchReader.from_batches(schema, batches).__arrow_c_stream__()


def _whole(column: pa.ChunkedArray, kind: pa.DataType) -> pa.Array:
    found = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return found if found.type == kind else found.cast(kind)


def _fits(found: str, wanted: str) -> bool:
    if found == '"NULL"':
        return True
    if wanted.endswith("[]"):
        return found.endswith("[]") and _fits(found[:-2], wanted[:-2])
    return found in _FITS[wanted] or (wanted == "DOUBLE" and found.startswith("DECIMAL("))


def _size(kind: FeatureType) -> Size | None:
    """The size of a column; None where it is fixed."""
    return Size(1.0) if kind is FeatureType.STRING or kind.value.endswith("_list") else None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
