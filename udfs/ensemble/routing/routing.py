"""Who is asked about which record of a batch, by the plan in force."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from schemas.codecs.base import Codec
from schemas.micro_batch import MicroBatch
from schemas.plans.plan import ByHash, ByRule, Only, Plan
from schemas.results.answers import Asked
from udfs.ensemble.routing.record_fields import RecordFields
from udfs.ensemble.routing.sticky_hash import draw

Mask = NDArray[np.bool_]
Masks = dict[str, Mask]


class Routing:
    """A plan as `read_plan` checked it, made ready. Raises `PlanError` for a rule that is no CEL expression.

    Rules of every route: a name that is no candidate is passed over. A record that is left with nobody to
    ask, because it cannot be parsed or because whom its route names is not there, is asked of all who may
    decide. Shadows are asked about every record, and only as shadows even where the route names them too.

    `warning`: what a plan's author should know about its cost, or an empty string.
    """

    def __init__(self, plan: Plan, codec: Codec, raw_json: bool) -> None:
        self.plan = plan
        self._shadow = frozenset(plan.shadow)
        self._route: Callable[[MicroBatch, Sequence[str]], Masks] | None = None
        self.warning = ""
        if isinstance(plan.route, ByRule):
            self._route = rules = _Rules(plan.route, codec, raw_json)
            self.warning = rules.warning
        elif isinstance(plan.route, ByHash):
            self._route = _Sticky(plan.route, codec, raw_json)
        elif isinstance(plan.route, Only):
            self._route = _Named(plan.route)

    def asked(self, batch: MicroBatch, candidates: Iterable[str]) -> tuple[Asked, ...]:
        """Who is asked, in the order of `candidates`; nobody for a batch without candidates."""
        names = list(candidates)
        deciding = [name for name in names if name not in self._shadow]
        masks: Masks = {} if self._route is None or not deciding else self._route(batch, deciding)
        if masks:
            left = ~np.logical_or.reduce(list(masks.values()))
            if left.any():
                masks = {name: masks.get(name, _none(batch)) | left for name in deciding}
        else:
            masks = {name: ~_none(batch) for name in deciding}
        return tuple(
            Asked(name, None if name in self._shadow else _rows(masks[name]), name in self._shadow)
            for name in names
            if name in self._shadow or (name in masks and masks[name].any())
        )


class _Rules:
    def __init__(self, route: ByRule, codec: Codec, raw_json: bool) -> None:
        from udfs.ensemble.cel.rules import CelRule  # noqa: PLC0415  (a parser that few plans need)

        self._rules = [(CelRule(rule.when), rule.candidates) for rule in route.rules]
        self._otherwise = route.otherwise
        slow = [cel.when for cel, _ in self._rules if not cel.by_columns]
        self.warning = f"evaluated record by record, some 0.3 ms each: {'; '.join(slow)}" if slow else ""
        wanted = [cel.fields for cel, _ in self._rules]
        names = None if None in wanted else {name for some in wanted for name in some or ()}
        self._fields = RecordFields(codec, raw_json, names)

    def __call__(self, batch: MicroBatch, deciding: Sequence[str]) -> Masks:
        masks = {name: _none(batch) for name in deciding}
        records = self._fields.read(batch.payloads)
        rest = np.array([row for row, record in enumerate(records) if record is not None], dtype=np.intp)
        for rule, names in self._rules:
            if not len(rest):
                break
            holds = rule.holds([records[row] for row in rest])
            _ask(masks, names, rest[holds])
            rest = rest[~holds]
        _ask(masks, self._otherwise or deciding, rest)
        return masks


class _Named:
    def __init__(self, route: Only) -> None:
        self._candidates = route.candidates

    def __call__(self, batch: MicroBatch, deciding: Sequence[str]) -> Masks:
        return {name: ~_none(batch) for name in deciding if name in self._candidates}


class _Sticky:
    """A record without the entity is drawn by its partition and offset: shares stay, and so does a replay."""

    def __init__(self, route: ByHash, codec: Codec, raw_json: bool) -> None:
        self._weights, self._salt = route.weights, route.salt
        self._entities = Entities(route.entity, codec, raw_json) if route.entity else None

    def __call__(self, batch: MicroBatch, deciding: Sequence[str]) -> Masks:
        masks = {name: _none(batch) for name in deciding}
        weights = {name: self._weights[name] for name in deciding if name in self._weights}
        if not weights:
            return masks
        good, entities = self._drawn_by(batch)
        drawn = draw(entities, weights, self._salt)
        for i, name in enumerate(sorted(weights)):
            masks[name][good[drawn == i]] = True
        return masks

    def _drawn_by(self, batch: MicroBatch) -> tuple[NDArray[np.intp], list[bytes]]:
        """The rows that can be parsed, as far as that matters, and what each is drawn by."""
        if self._entities is None:
            keys = batch.keys or [None] * len(batch)
            return np.arange(len(batch)), [
                _identity(batch, row) if key is None else bytes(key) for row, key in enumerate(keys)
            ]
        good, entities = self._entities.of(batch)
        return good, [
            _identity(batch, row) if entity is None else entity
            for row, entity in zip(good.tolist(), entities, strict=True)
        ]


class Entities:
    """Reads the entity of each record from the field `name`."""

    def __init__(self, name: str, codec: Codec, raw_json: bool) -> None:
        self._name, self._fields = name, RecordFields(codec, raw_json, [name])

    def of(self, batch: MicroBatch) -> tuple[NDArray[np.intp], list[bytes | None]]:
        """The rows that can be parsed, and the entity of each, None where it has none."""
        records = self._fields.read(batch.payloads)
        good = [row for row, record in enumerate(records) if record is not None]
        values = [(records[row] or {}).get(self._name) for row in good]
        return np.array(good, dtype=np.intp), list(map(entity_of, values))


def asked_by_type(asked: Sequence[Asked], model_types: Mapping[str, str]) -> dict[str, tuple[Asked, ...]]:
    """Whom the executor of each model type is to ask; `model_types`: candidate -> model type."""
    types = dict.fromkeys(model_types[one.candidate] for one in asked)
    return {t: tuple(one for one in asked if model_types[one.candidate] == t) for t in types}


def _ask(masks: Masks, names: Iterable[str], rows: NDArray[np.intp]) -> None:
    for name in names:
        if name in masks:
            masks[name][rows] = True


def _none(batch: MicroBatch) -> Mask:
    return np.zeros(len(batch), dtype=bool)


def _rows(mask: Mask) -> tuple[int, ...] | None:
    return None if mask.all() else tuple(np.flatnonzero(mask).tolist())


def _identity(batch: MicroBatch, row: int) -> bytes:
    return b"%d/%d" % (batch.partitions[row], batch.offsets[row])


def entity_of(value: Any) -> bytes | None:
    """None for what is no entity: nothing, and what is nested deeper than can be written."""
    try:
        return None if value is None else _text(value)
    except TypeError:
        return None


def _text(value: Any) -> bytes:
    """An entity as bytes: 7, 7.0 and "7" are the same one, whoever wrote it."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return b"%d" % value
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
