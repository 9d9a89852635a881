"""Results and what is stored of them, put together for `millrace explain`."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

import millrace
from millrace.audited_streams import AuditedStreams, Place
from schemas.codecs.base import Codec
from schemas.codecs.factory import CodecSpec, make_codec
from schemas.errors import RegistryError, SettingsError
from schemas.results.decided import Decided
from schemas.results.results import Scored, experiments_field
from udfs.io.s3 import S3Options
from udfs.lifecycle.audit.auditing import Audited, audit, read_any
from udfs.lifecycle.audit.finding import Finder, Who
from udfs.lifecycle.audit.replaying import Replayed, Replayer, ReplayVerdict, record_of
from udfs.models.code_version import code_version
from udfs.models.descriptor import Publication
from udfs.models.loaded_model import LoadedModel
from udfs.models.loading import LoadPolicy, load_model
from udfs.stores.registry.base import FeatureRef
from udfs.stores.registry.models import ModelRegistry
from udfs.stores.registry.sql import SqlRegistry

_GIVEN = "the records' stream"
_REPEATED = "the result, which repeats it"
_AT_ONCE = 1000
_SHOWN_MOST = 20


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """As the settings of the job that scored. `codec`: JSON of its codec; `registry`: empty for none."""

    registry: str = ""
    model_store: str = ""
    model_roots: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    codec: str = "{}"
    training: bool = False
    pypmml: bool = False
    s3: S3Options = field(default_factory=S3Options)


@contextmanager
def auditing(streams: AuditedStreams, options: AuditOptions) -> Iterator[Auditing]:
    """Raises `SettingsError` for a codec that is none, and the errors of a registry that is not there."""
    try:
        spec = msgspec.json.decode(options.codec, type=CodecSpec)
    except msgspec.MsgspecError as e:
        raise SettingsError(f"the codec {options.codec} cannot be read: {e}") from None
    registry = ModelRegistry(options.registry) if options.registry else None
    store = _url(options.model_store)
    roots = (*map(_url, options.model_roots), *([store] if store else []))
    policy = LoadPolicy(
        roots=roots, fields=options.fields, warm_up_batches=(1,), training=options.training,
        pypmml=options.pypmml, s3=options.s3,
    )  # fmt: skip

    def load(said: Publication) -> LoadedModel:
        return load_model(said, policy)

    finder = Finder(registry, streams.published, store)
    replayer = Replayer(finder, load, make_codec(spec), raw_json=spec.kind == "json")
    try:
        yield Auditing(streams, finder, replayer, options.registry, spec.kind == "json")
    finally:
        replayer.close()
        if registry is not None:
            registry.close()


class Auditing:
    """One run of the command."""

    def __init__(
        self, streams: AuditedStreams, finder: Finder, replayer: Replayer, registry: str, raw_json: bool
    ) -> None:
        self._streams, self._finder, self._replayer = streams, finder, replayer
        self._registry, self._raw_json = registry, raw_json
        self._json = make_codec(CodecSpec())

    def result(self, place: Place, results: str) -> bytes | None:
        """The result at a place of the results' topic, or the first result of the record at another place."""
        if place[0] == results:
            return self._streams.result(place)
        for line in self._streams.results():
            try:
                read, _ = read_any(line)
            except ValueError:
                continue
            if (read.source, read.partition, read.offset) == place:
                return line
        return None

    def explained(self, line: bytes) -> dict[str, Any]:
        """All that is known of a result, as plain values. Raises `SettingsError` where it is none."""
        try:
            read = read_any(line)
        except ValueError as e:
            raise SettingsError(f"what stands there is no result: {e}") from None
        result, decided = read
        place = result.source, result.partition, result.offset
        record, origin, codec = self._record(line, self._streams.records([place]).get(place))
        again = audit(read, record, codec, self._replayer, self._finder)
        models = {result.model: (result.version, result.digest)} if decided is None and result.model else {}
        if decided is not None:
            models = {n: (a.version, a.digest) for n, a in decided.answers.items() if a.digest}
        found = {
            "result": {
                **{n: v for n, v in asdict(result).items() if n not in ("record", "experiments")},
                **experiments_field(result.experiments),
            },
            "record": {"from": origin, "value": result.record},
            "features": self._features(result, models),
            "models": [self._model(Who(result.data_type, n, v, d)) for n, (v, d) in models.items()],
        }
        if decided is not None:
            found["decision"] = _decision(decided)
        found["again"] = _again(again)
        return found

    def sampled(self, count: int, seed: int) -> dict[str, Any]:
        """What became of so many results, drawn evenly from all that are there."""
        chosen, passed_over = _drawn(self._streams.results(), count, seed)
        verdicts, reasons, origins = Counter[str](), Counter[tuple[str, str]](), Counter[str]()
        different: list[dict[str, Any]] = []
        # Those of one model follow each other, so that it is loaded once.
        ordered = sorted(chosen, key=lambda one: (one[1][0].data_type, one[1][0].model, one[1][0].version))
        for start in range(0, len(ordered), _AT_ONCE):
            some = ordered[start : start + _AT_ONCE]
            places = [(r.source, r.partition, r.offset) for _, (r, _) in some]
            there = self._streams.records(places)
            for (line, read), place in zip(some, places, strict=True):
                record, origin, codec = self._record(line, there.get(place))
                made = audit(read, record, codec, self._replayer, self._finder)
                verdicts[made.verdict.value] += 1
                origins[origin] += 1
                if made.verdict is not ReplayVerdict.SAME:
                    reasons[made.verdict.value, made.reason()] += 1
                if made.verdict is ReplayVerdict.DIFFERENT and len(different) < _SHOWN_MOST:
                    different.append({"record": ":".join(map(str, place)), **_again(made)})
        return {
            "results": len(ordered),
            **{v.value: verdicts[v.value] for v in ReplayVerdict},
            "no_results": passed_over,
            "reasons": [
                {"verdict": verdict, "why": why, "results": n} for (verdict, why), n in reasons.most_common()
            ],
            "records_from": dict(origins),
            "differences": different,
        }

    def _record(self, line: bytes, there: bytes | None) -> tuple[bytes, str, Codec | None]:
        """The record's bytes, where they are from, and the codec that reads them if it is not the job's."""
        if there is not None:
            return there, _GIVEN, None
        return record_of(line), _REPEATED, None if self._raw_json else self._json

    def _features(self, result: Scored, models: Mapping[str, tuple[int, str]]) -> list[dict[str, Any]]:
        """Features that the record says where they are from; of other fields those that a model reads."""
        found = []
        stamps = result.record.get("features")
        for stamp in stamps if isinstance(stamps, list) else ():
            if isinstance(stamp, dict) and "feature" in stamp and "version" in stamp:
                made = bool(stamp.get("created_on_demand"))
                origin = "made on demand" if made else "online store"
                shown = {n: stamp.get(n) for n in ("feature", "value", "version", "age_ms")}
                found.append({**shown, "origin": origin, **self._lineage(str(stamp["feature"]))})
        if found:
            return found
        fields: dict[str, None] = {}
        for name, (version, digest) in models.items():
            known = self._finder.registered(Who(result.data_type, name, version, digest))
            model = self._replayer.model(Who(result.data_type, name, version, digest))
            inputs = model.inputs if isinstance(model, LoadedModel) else known.inputs if known else ()
            fields |= dict.fromkeys(f for i in inputs for f in i.fields)
        return [
            {"feature": f, "value": result.record.get(f), "version": None, "age_ms": None, "origin": "record"}
            for f in fields
        ]

    def _lineage(self, feature: str) -> dict[str, Any]:
        """The stream that a feature comes from, and the views between."""
        view, _, name = feature.partition(":")
        if not self._registry:
            return {}
        registry = SqlRegistry(self._registry)
        try:
            line = registry.lineage(FeatureRef(view, name))
        except RegistryError:
            return {}
        finally:
            registry.close()
        return {"source": line.source, "through": list(line.through)}

    def _model(self, who: Who) -> dict[str, Any]:
        known = self._finder.registered(who)
        told: dict[str, Any] = asdict(known) if known is not None else asdict(who)
        told.pop("descriptor", None)
        told |= {"registered": known is not None, "served_by_code": self._finder.served_by(who)}
        return {
            **told,
            "replayed_by": f"millrace {millrace.__version__}",
            "replayed_by_code": code_version(),
        }


def _drawn(
    lines: Iterable[bytes], count: int, seed: int
) -> tuple[list[tuple[bytes, tuple[Scored, Decided | None]]], int]:
    """A sample of the results, and how many lines were none.

    The sample is a reservoir's (Vitter's algorithm R, ACM TOMS 11(1), 1985).
    """
    chance, seen, passed_over = random.Random(seed), 0, 0  # noqa: S311 - a sample is no secret
    chosen: list[tuple[bytes, tuple[Scored, Decided | None]]] = []
    for line in lines:
        try:
            read = read_any(line)
        except ValueError:
            passed_over += 1
            continue
        seen += 1
        if len(chosen) < count:
            chosen.append((line, read))
        elif (at := chance.randrange(seen)) < count:
            chosen[at] = (line, read)
    return chosen, passed_over


def _decision(decided: Decided) -> dict[str, Any]:
    return {
        "plan": decided.plan,
        "plan_version": decided.plan_version,
        "rule": decided.rule,
        "deadline_ms": decided.deadline_ms,
        "answers": {n: asdict(a) for n, a in decided.answers.items()},
    }


def _again(made: Audited) -> dict[str, Any]:
    def told(one: Replayed) -> dict[str, Any]:
        return {
            "verdict": one.verdict.value,
            "why": one.why,
            "scores": dict(one.scores),
            "differences": [asdict(d) for d in one.found],
        }

    return {
        "verdict": made.verdict.value,
        "why": made.reason(),
        "answers": {n: told(a) for n, a in made.answers.items()},
        **({"decision": told(made.decision)} if made.decision is not None else {}),
    }


def _url(place: str) -> str:
    return place if not place or place.startswith(("file:", "s3:")) else Path(place).resolve().as_uri()
