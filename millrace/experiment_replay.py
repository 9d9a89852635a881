"""What the controller of experiments knows by the model stream alone."""

from __future__ import annotations

from collections.abc import Iterator

from millrace.model_stream import ModelStream
from schemas.errors import ExperimentError, ModelError
from schemas.lifecycle.experiments import ExperimentEvent
from udfs.lifecycle.experiments.controlling import Controller, CountedInMemory, PlanOrdered
from udfs.lifecycle.experiments.orders import Order, write_order
from udfs.models.descriptor import Publication, parse


def end_of(
    order: Order, name: str, data_type: str, stream: ModelStream
) -> tuple[PlanOrdered, ExperimentEvent]:
    """With which plan the controller would follow an order to end an experiment, and what it would say.

    Raises `ExperimentError` with its reason where it would refuse, and `SourceError`.
    """
    created_ms, version = stream.moment(data_type)
    controller = controller_of(stream)
    said = list(controller.order(data_type, name, write_order(order), version, created_ms))
    plans = [one for one in said if isinstance(one, PlanOrdered)]
    (event,) = (one for one in said if isinstance(one, ExperimentEvent))
    if not plans:
        raise ExperimentError(f"{event.reason}; so it stands on this model stream")
    return plans[0], event


def controller_of(stream: ModelStream) -> Controller:
    """A controller that has read the orders, plans and models there.

    What follows from evidence it knows by the plans. Signatures are not verified. Raises `SourceError`.
    """
    controller = Controller(CountedInMemory())
    for one in _published(stream):
        for _ in controller.published(one, one.created_ms):
            pass  # what the one that runs has said is on the stream already
    return controller


def _published(stream: ModelStream) -> Iterator[Publication]:
    """In the order of publication; what is no descriptor is passed over."""
    found = (one for message in stream.messages() if (one := _read(message)) is not None)
    if stream.folder is not None:
        return iter(
            sorted(found, key=lambda one: one.created_ms)
        )  # the controller's files have no time in names
    return found


def _read(message: bytes) -> Publication | None:
    try:
        return parse(message)
    except ModelError:
        return None
