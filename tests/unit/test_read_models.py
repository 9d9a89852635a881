"""The operator that reads the model stream, with Flink's state in memory: what is refused goes no further."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from operators.rows import MODEL_EVENTS
from operators.sources.models import ReadModels
from schemas.micro_batch import MicroBatch, encode_micro_batch
from schemas.results.records import ModelEvent, decode
from tests.flink_fakes import KeyedContext
from tests.output_batches import messages_of
from tests.signing_keys import KEY, OTHER, entry, keys_file, signer
from udfs.models.descriptor import build, parse
from udfs.models.model_store import StoreSpec
from udfs.models.signing.gate import SigningSpec


def read(operator: ReadModels, *descriptors: bytes) -> tuple[list[Any], list[ModelEvent]]:
    count = len(descriptors)
    batch = MicroBatch("models", "m", list(descriptors), [0] * count, list(range(count)), [None] * count)
    rows, events = [], []
    for sent in operator.process_element(encode_micro_batch(batch), None):  # type: ignore[arg-type]
        if isinstance(sent, tuple):
            tag, packed = sent
            assert tag is MODEL_EVENTS
            events += [decode(ModelEvent, message.value) for message in messages_of(packed)]
        else:
            rows.append(sent)
    return rows, events


def opened(spec: SigningSpec, store: str, states: dict[str, dict[str, Any]] | None = None) -> Any:
    operator, context = ReadModels(StoreSpec(store), spec), KeyedContext(states)
    operator.open(context)  # type: ignore[arg-type]
    return operator, context


def test_what_is_refused_leaves_nothing_in_the_store_and_a_replay_is_known_after_a_restart(
    tmp_path: Path,
) -> None:
    store = tmp_path / "store"
    spec = SigningSpec(True, str(keys_file(tmp_path, entry("release", KEY))), "prod")
    operator, context = opened(spec, store.as_uri())
    model = build(data_type="wine", name="forest", model_type="PMML", version=1, data=b"<PMML/>")
    rows, events = read(operator, model, signer(OTHER).sign(model), b"\xff")
    assert [row[0] for row in rows] == [""], "only what is no descriptor, to be refused where it is read"
    assert [event.reason.split(":")[0] for event in events] == ["unsigned", "foreign key"]
    assert not store.exists()
    good = signer().sign(model)
    ((data_type, descriptor),), events = read(operator, good)
    assert (data_type, parse(descriptor).signer, events) == ("wine", "release", [])
    assert len(list(store.iterdir())) == 1
    again, _ = opened(spec, store.as_uri(), context.states)
    rows, (event,) = read(again, good)
    assert rows == [] and event.reason.startswith("replayed")


def test_nothing_of_it_costs_those_who_sign_nothing(tmp_path: Path) -> None:
    operator, context = opened(SigningSpec(), "")
    model = build(data_type="wine", name="forest", model_type="PMML", version=1, data=b"<PMML/>")
    rows, events = read(operator, model)
    assert [row[1] for row in rows] == [model] and events == [] and context.updates == []
