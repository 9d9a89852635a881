"""What the controller of experiments knows by the model stream alone."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from millrace.model_stream import ModelStream
from schemas.errors import ExperimentError, ModelError
from schemas.lifecycle.experiments import ExperimentEvent
from udfs.lifecycle.experiments.controlling import Controller, CountedInMemory, PlanOrdered
from udfs.lifecycle.experiments.declaration import Experiment
from udfs.lifecycle.experiments.orders import Order, write_order
from udfs.models.descriptor import Publication, parse
from udfs.models.signing.counters import CountersInMemory
from udfs.models.signing.gate import SignatureGate, SigningSpec


@dataclass(frozen=True, slots=True)
class Reading:
    """How the controller reads.

    `signing`: which signatures it wants; None: it looks at none. `most_jump`: its `models.version_jump`.
    """

    signing: SigningSpec | None = None
    most_jump: int | None = None


def end_of(
    order: Order, name: str, data_type: str, stream: ModelStream, reading: Reading
) -> tuple[PlanOrdered, ExperimentEvent, Experiment]:
    """With which plan the controller would follow an order to end an experiment, and what it would say.

    Third, the experiment. Raises `ExperimentError` with its reason where it would refuse, and `SourceError`.
    """
    created_ms, version = stream.moment(data_type)
    controller = controller_of(stream, reading)
    said = list(controller.order(data_type, name, write_order(order), version, created_ms))
    plans = [one for one in said if isinstance(one, PlanOrdered)]
    (event,) = (one for one in said if isinstance(one, ExperimentEvent))
    if not plans:
        raise ExperimentError(f"{event.reason}; so it stands on this model stream")
    declared = controller.declared(name)
    assert declared is not None  # else the order would have been refused
    return plans[0], event, declared


def controller_of(stream: ModelStream, reading: Reading) -> Controller:
    """A controller that has read the orders, plans and models there.

    What follows from evidence it knows by the plans. A signature is verified by the keys of now, as of when
    its message says that it was made. Raises `SourceError`.
    """
    controller = Controller(CountedInMemory(), reading.most_jump)
    found = _published(stream)
    for one, _ in found if reading.signing is None else _admitted(found, reading.signing):
        for _ in controller.published(one, one.created_ms):
            pass  # what the one that runs has said is on the stream already
    return controller


def _published(stream: ModelStream) -> Iterable[tuple[Publication, bytes]]:
    """With its message, in the order of publication; what is no descriptor is passed over."""
    found = ((one, message) for message in stream.messages() if (one := _read(message)) is not None)
    if stream.folder is not None:  # the controller's files have no time in names
        return sorted(found, key=lambda one: one[0].created_ms)
    return found


def _admitted(
    found: Iterable[tuple[Publication, bytes]], signing: SigningSpec
) -> Iterator[tuple[Publication, bytes]]:
    at, counters = 0, CountersInMemory()
    gate = SignatureGate(signing, lambda: at)
    for one, message in found:
        at = one.created_ms or time.time_ns() // 1_000_000
        if isinstance(gate.admit(message, counters), bytes):
            yield one, message


def _read(message: bytes) -> Publication | None:
    try:
        return parse(message)
    except ModelError:
        return None
