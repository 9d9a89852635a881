"""What people tell the controller, on the model stream: start an experiment, or end it."""

from __future__ import annotations

from typing import Literal

import msgspec

from schemas.errors import ExperimentError
from udfs.lifecycle.experiments.declaration import Experiment


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`experiment`: what is started. `reason`: why it is ended, for the record.

    `stop` puts the control's plan in force without a judgement, as `rollback` does with one. `arm`: what is
    promoted, where the experiment has several treatments.
    """

    action: Literal["start", "stop", "promote", "rollback"]
    experiment: Experiment | None = None
    reason: str = ""
    arm: str = ""


LONGEST_REASON = 1000


def write_order(order: Order) -> str:
    """The JSON in which it travels, in a descriptor with the operation EXPERIMENT."""
    return msgspec.json.encode(order).decode()


def read_order(text: str | bytes) -> Order:
    """What `write_order` wrote. Raises `ExperimentError`."""
    try:
        order = _ORDER_DECODER.decode(text)
    except (msgspec.MsgspecError, ExperimentError, RecursionError) as e:
        raise ExperimentError(f"not an order about an experiment: {e}") from None
    if (order.action == "start") != (order.experiment is not None):
        raise ExperimentError("an order to start carries an experiment, and no other does")
    if len(order.reason) > LONGEST_REASON:
        said = f"the reason has {len(order.reason):,} characters, and {LONGEST_REASON:,} are the most"
        raise ExperimentError(said)
    return order


# Made here: msgspec lets another thread use a type that is still being taken in, which ends the process.
_ORDER_DECODER = msgspec.json.Decoder(Order)
