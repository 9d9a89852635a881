"""How experiments stand, by the events that were told of them."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.lifecycle.experiments import ExperimentEvent


def standing(
    events: Iterable[ExperimentEvent],
) -> tuple[list[ExperimentEvent], dict[str, ExperimentEvent]]:
    """What was said last of each experiment, and by name the orders about it that were refused since.

    A refusal takes the place of nothing that an experiment said: it is what was said last only where there
    is nothing else. What is refused of evidence has no name, and is of no experiment. Events may come in any
    order; of those of one time the later one counts.
    """
    said: dict[str, ExperimentEvent] = {}
    refused: dict[str, ExperimentEvent] = {}
    decided: dict[str, int] = {}
    for event in events:
        name = event.experiment
        into = refused if event.kind == "refused" else said
        if name and (name not in into or into[name].at <= event.at):
            into[name] = event
        if event.kind not in ("refused", "progress"):
            decided[name] = max(event.at, decided.get(name, event.at))
    alone = [one for name, one in refused.items() if name not in said]
    since = {n: one for n, one in refused.items() if n in said and one.at >= decided.get(n, one.at)}
    return [*said.values(), *alone], since
