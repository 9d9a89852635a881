"""The registry's alias follows a promotion, and goes back where jobs refuse its plan."""

from __future__ import annotations

from schemas.errors import MillraceError
from schemas.lifecycle.experiments import ExperimentEvent
from udfs.stores.registry.model_records import AliasChange
from udfs.stores.registry.models import ModelRegistry


def move_alias(url: str, event: ExperimentEvent) -> str:
    """Let the experiment's alias stand for what was promoted, and no longer for a control or a model of an
    earlier promotion of another name.

    `url`: of the registry; empty: the controller has none. Says what was done, or why it could not be: the
    promotion stands in any case.
    """
    new, old = event.arms[event.treatment], event.arms[event.control]
    if not url:
        return f"the alias {event.alias} was not moved: the controller has no registry"
    if not new.version:
        return f"the alias {event.alias} was not moved: the treatment names no version of a model"
    registry = ModelRegistry(url)
    try:
        _set(registry, event, new.model, new.version)
        for name in dict.fromkeys((old.model, event.replaced)):
            changes = _changes(registry, event, name) if name not in ("", new.model) else []
            if changes and changes[-1].version:
                _set(registry, event, name, 0)
    except MillraceError as e:
        return f"the alias {event.alias} was not moved: {e}"
    finally:
        registry.close()
    return f"{event.alias} is {new.model} version {new.version}"


def take_back_alias(url: str, event: ExperimentEvent) -> str:
    """Let the experiment's alias stand for what it did before this experiment moved it, where nobody has
    moved it since.

    `url`: as of `move_alias`. Says what was done, or why it could not be; empty: it had moved nothing.
    """
    if not url:
        return ""
    registry, done = ModelRegistry(url), []
    try:
        named = [arm.model for arm in event.arms.values()]
        for name in dict.fromkeys(filter(None, (*named, event.replaced))):
            changes = _changes(registry, event, name)
            if not changes or changes[-1].by != _by(event):
                continue
            before = changes[-2].version if len(changes) > 1 else 0
            _set(registry, event, name, before)
            done.append(f"{name} version {before}" if before else f"no longer {name}")
    except MillraceError as e:
        return f"whether the alias {event.alias} was moved by it and is to go back is not known: {e}"
    finally:
        registry.close()
    return f"the alias {event.alias} is {', '.join(done)}" if done else ""


def _changes(registry: ModelRegistry, event: ExperimentEvent, name: str) -> list[AliasChange]:
    """Of the experiment's alias for this model, the oldest first."""
    return [c for c in registry.alias_changes(name, event.data_type) if c.alias == event.alias]


def _set(registry: ModelRegistry, event: ExperimentEvent, name: str, version: int) -> None:
    reason = event.reason if event.kind == "stopped" else event.evidence or event.reason
    registry.set_alias(AliasChange(event.data_type, name, event.alias, version, event.at, _by(event), reason))


def _by(event: ExperimentEvent) -> str:
    return f"experiment {event.experiment}"
