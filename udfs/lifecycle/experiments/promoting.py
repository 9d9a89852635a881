"""The registry's alias follows a promotion."""

from __future__ import annotations

from schemas.errors import MillraceError
from schemas.lifecycle.experiments import ExperimentEvent
from udfs.stores.registry.model_records import AliasChange
from udfs.stores.registry.models import ModelRegistry


def move_alias(url: str, event: ExperimentEvent) -> str:
    """Let the experiment's alias stand for what was promoted, and no longer for a control or a model of an
    earlier promotion of another name.

    `url`: of the registry. Says what was done, or why it could not be: the promotion stands in any case.
    """
    new, old = event.arms[event.treatment], event.arms[event.control]
    if not new.version:
        return f"the alias {event.alias} was not moved: the treatment names no version of a model"
    registry = ModelRegistry(url)
    try:
        _set(registry, event, new.model, new.version)
        for name in dict.fromkeys((old.model, event.replaced)):
            if name not in ("", new.model) and _stands(registry, event, name):
                _set(registry, event, name, 0)
    except MillraceError as e:
        return f"the alias {event.alias} was not moved: {e}"
    finally:
        registry.close()
    return f"{event.alias} is {new.model} version {new.version}"


def _stands(registry: ModelRegistry, event: ExperimentEvent, name: str) -> bool:
    changes = [c for c in registry.alias_changes(name, event.data_type) if c.alias == event.alias]
    return bool(changes) and bool(changes[-1].version)


def _set(registry: ModelRegistry, event: ExperimentEvent, name: str, version: int) -> None:
    by, reason = f"experiment {event.experiment}", event.evidence or event.reason
    registry.set_alias(AliasChange(event.data_type, name, event.alias, version, event.at, by, reason))
