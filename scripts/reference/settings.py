"""docs/reference/settings.md: every setting of every job."""

from __future__ import annotations

import dataclasses
import types
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from jobs.settings.assemble import AssembleSettings
from jobs.settings.experiment import ExperimentSettings
from jobs.settings.features import BackfillSettings, FeatureSettings
from jobs.settings.outcomes import OutcomesSettings
from jobs.settings.serve import ServeSettings
from jobs.settings.speculate import SpeculateSettings
from jobs.settings.track import TrackSettings
from jobs.settings.training import TrainingSettings
from jobs.settings.watch import WatchSettings
from schemas.codecs.factory import CODECS

_HEAD = """# Settings

Of the jobs. Made by `scripts/generate` from `jobs/settings/`.

A setting `a.b` is the flag `--a.b`, the variable `MILLRACE_A__B`, or `b` in the table `[a]` of the TOML
file that `--config` names; dashes stand for underscores in flags. Flags win over variables, those over the
file. Tables are given as JSON in flags and variables: `--kafka.records '{"topic": "type"}'`. So are
`codec`, `buffer` and `s3`, which have no dotted flags: `--codec '{"kind": "avro", "schema": "PATH"}'`.
"""
_BACKFILL = """
As for `jobs/features.py`, without `kafka`, `folder` and what has to do with streams, and:
"""
_PARTS: tuple[tuple[str, type[BaseModel], str, type[BaseModel] | None], ...] = (
    ("Serving: `jobs/serve.py` and `jobs/serve_partitioned.py`", ServeSettings, "", None),
    ("Speculating: `jobs/speculate.py`", SpeculateSettings, "\nAs for serving, but for:\n", ServeSettings),
    ("Features: `jobs/features.py`", FeatureSettings, "", None),
    ("Features from history: `jobs/backfill.py`", BackfillSettings, _BACKFILL, FeatureSettings),
    ("Assembling: `jobs/assemble.py`", AssembleSettings, "", None),
    ("Training sets: `jobs/training_set.py`", TrainingSettings, "", None),
    ("Watching: `jobs/watch.py`", WatchSettings, "", None),
    ("Outcomes: `jobs/outcomes.py`", OutcomesSettings, "", None),
    ("Experiments: `jobs/experiment.py`", ExperimentSettings, "", None),
    ("Keeping who served what: `jobs/track.py`", TrackSettings, "", None),
)
"""Heading, settings, what is said of them, and those of which only the others are listed."""

_MEANINGS = {
    "codec.kind": f"one of {', '.join(CODECS)}; debezium: change events, as JSON without a schema registry",
    "codec.max_bytes": "the longest record; a longer one is a dead letter",
    "codec.descriptor_set": "protobuf: path of a FileDescriptorSet",
    "codec.message": "protobuf: the message's full name",
    "codec.schema": "Avro: path of the reader's .avsc",
    "codec.registry_header": "Avro: records begin with a schema registry's five bytes",
    "codec.writers": "Avro: schema id to path of the writer's .avsc",
    "codec.schema_registry.url": "where records begin with the id of a schema: the registry that knows it, "
    "by Confluent's protocol",
    "codec.schema_registry.user": "basic authentication",
    "codec.schema_registry.ca_file": "PEM: who signed its certificate, where the system does not know them",
    "codec.schema_registry.cert_file": "PEM: the job's own certificate, where the registry wants one",
    "codec.schema_registry.key_file": "PEM: its key",
    "codec.schema_registry.timeout_s": "seconds for one request",
    "codec.schema_registry.wait_s": "how long records wait for a registry that is out of reach before the "
    "job starts again from its last checkpoint; less than Flink's `task.cancellation.timeout`",
    "codec.schema_registry.unknown_s": "how long an id that the registry did not know is not asked for again",
    "buffer.records": "the most records of a type that an instance keeps; behind a call, half of them",
    "buffer.bytes": "the most bytes of them",
    "buffer.seconds": "how long the oldest of them waits before they go out as `no_model`",
    "buffer.all_bytes": "the most bytes of all types together, at each instance",
    "buffer.types": "of how many types an instance keeps records",
    "redis.url": "redis://HOST:PORT/DB, or rediss:// for TLS",
    "redis.project": "Feast's: it ends every key",
    "redis.timeout_s": "seconds for connecting and for each answer",
    "redis.backoff_s": "while Redis is away: the first wait, doubled each time",
    "redis.backoff_most_s": "the longest wait",
    "redis.keep_expired_s": "how long a row is kept after its TTL, then read as expired and not as missing",
    "s3.endpoint": "for models and history in S3; empty: AWS",
    "s3.path_style": "bucket in the path and not in the host name",
    "s3.access_key": "empty: the usual chain of credentials",
    "s3.timeout_s": "seconds for one request",
}


def settings_page() -> str:
    """The whole document."""
    parts = [_HEAD]
    for title, settings, said, known in _PARTS:
        rows = [row for row in _rows(settings, "") if known is None or row not in _rows(known, "")]
        parts += [
            f"\n## {title}\n{said}\n",
            "| setting | type | default | meaning |\n|---|---|---|---|\n",
            *rows,
        ]
    return "".join(parts)


def _rows(model: type[BaseModel], prefix: str) -> list[str]:
    rows = []
    for name, info in model.model_fields.items():
        kind = _plain(info.annotation)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            rows += _rows(kind, f"{prefix}{name}.")
        elif dataclasses.is_dataclass(kind):
            rows += _parts(kind, f"{prefix}{name}.")
        elif get_origin(kind) is dict and issubclass(get_args(kind)[1], BaseModel):
            rows += _rows(get_args(kind)[1], f"{prefix}{name}.TYPE.")
        else:
            rows.append(_row(prefix + name, _type(kind), _default(info), info.description or ""))
    return rows


def _parts(kind: Any, prefix: str) -> list[str]:
    """The rows of a dataclass, and of those in it."""
    rows = []
    for field in dataclasses.fields(kind):
        inner = field.default_factory
        if dataclasses.is_dataclass(inner):
            rows += _parts(inner, f"{prefix}{field.name}.")
        else:
            rows.append(_row(prefix + field.name, str(field.type), _value(field), ""))
    return rows


def _row(name: str, kind: str, default: str, meaning: str) -> str:
    meaning = meaning or _MEANINGS.get(name, "")
    return f"| `{name}` | {kind.replace('|', 'or')} | {default} | {meaning} |\n"


def _plain(annotation: Any) -> Any:
    """The type behind `T | None`."""
    if get_origin(annotation) in (Union, types.UnionType):
        found = [a for a in get_args(annotation) if a is not type(None)]
        return found[0] if len(found) == 1 else annotation
    return annotation


def _type(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if get_origin(kind) is tuple and get_origin(get_args(kind)[0]) is Literal:
        return f"list of {_type(get_args(kind)[0])}"
    plain = isinstance(kind, type) and not get_args(kind)
    return kind.__name__ if plain else str(kind).replace("typing.", "")


def _default(info: FieldInfo) -> str:
    return "required" if info.default is PydanticUndefined else _shown(info.default)


def _value(field: dataclasses.Field[Any]) -> str:
    return _shown(None if field.default is dataclasses.MISSING else field.default)


def _shown(value: Any) -> str:
    return "" if value in (None, "", (), {}) else f"`{value}`"
