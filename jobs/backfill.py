"""Features from history, in batch: `flink run -py jobs/backfill.py --declarations FILE --history ...`, or
without a cluster with folders. The same views, the same engine as in `jobs/features.py`."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from pyflink.datastream import DataStream, StreamExecutionEnvironment

from jobs.feature_stores import add_stores, check_stores
from jobs.running import run
from jobs.settings.features import BackfillSettings
from operators.features.feature_rows import FEATURE_BATCH, events_tag
from operators.features.view_batch import ViewBatch
from operators.key_groups import KeyGroups, key_groups
from operators.rows import DEAD_LETTERS
from operators.side_outputs import side_output
from operators.sinks.folder import add_folder_sink
from operators.sources.history_source import by_slice, history_events
from schemas.errors import FeatureError
from schemas.features.declarations import Declarations
from udfs.features.events.reading import read_references, read_sources
from udfs.features.events.references import streams_from
from udfs.features.loading import load_declarations
from udfs.stores.history.events import HistorySpec
from udfs.stores.history.files import find_files

_PARTS = 4


def build(env: StreamExecutionEnvironment, settings: BackfillSettings) -> None:
    """Files to events, events to features, layer by layer; features to the stores."""
    declared = load_declarations(settings.declarations)
    groups = key_groups(env)
    # An instance computes several parts, one after the other, so that a part's entities fit into memory.
    parts = min(len(groups.keys), _PARTS * env.get_parallelism())
    options = settings.s3, settings.slice_seconds * 1000, len(groups.keys), parts
    references = {
        name: history_events(env, files, HistorySpec(declared, name, *options, is_reference=True), groups)
        for name, files in _reference_files(declared, settings).items()
    }
    operators: list[DataStream] = [*references.values()]
    computed: list[DataStream] = []
    for source, files in _files(declared, settings).items():
        history = HistorySpec(declared, source, *options)
        read = history_events(env, files, history, groups)
        operators.append(read)
        layers = _BatchLayers(settings, groups, history, references, computed)
        layers.add(read, source)
    add_stores(env, computed, declared, settings)
    letters = side_output([*operators, *computed], DEAD_LETTERS)
    add_folder_sink(letters, settings.dead_letters.resolve().as_uri(), "dead-letters")


def check(settings: BackfillSettings) -> None:
    """Raises the error of whatever is not there, before Flink starts."""
    declared = load_declarations(settings.declarations)
    _files(declared, settings)
    _reference_files(declared, settings)
    check_stores(declared, settings)


def _files(declared: Declarations, settings: BackfillSettings) -> dict[str, list[str]]:
    """Source -> its files, of the sources that views read. Raises `FeatureError` where there are none."""
    read = read_sources(declared, topics=False)
    histories = {s.name: s.history for s in declared.sources if s.name in read}
    return {name: _found("source", name, history, settings) for name, history in histories.items()}


def _reference_files(declared: Declarations, settings: BackfillSettings) -> dict[str, list[str]]:
    """The same of the references that steps name."""
    named = read_references(declared, topics=False)
    histories = {r.name: r.history for r in declared.references if r.name in named}
    return {name: _found("reference", name, history, settings) for name, history in histories.items()}


def _found(what: str, name: str, history: str, settings: BackfillSettings) -> list[str]:
    found = find_files(history, settings.s3) if history else []
    if not found:
        raise FeatureError(f"{what} {name} has no files in its history {history!r}")
    return found


@dataclass(frozen=True, slots=True)
class _BatchLayers:
    """The views that read one source, and those that read them."""

    settings: BackfillSettings
    groups: KeyGroups
    history: HistorySpec
    references: Mapping[str, DataStream]
    computed: list[DataStream]

    def add(self, rows: DataStream, read: str) -> None:
        """`rows` sends what views of `read` take."""
        declared = self.history.declared
        for stream in streams_from(read, declared):
            sides = [rows, *(self.references[name] for name in stream.references)]
            events = by_slice(side_output(sides, events_tag(stream.name)), stream.name)
            spec = self.settings.views(declared, stream.views, len(self.groups.keys))
            made = events.process(ViewBatch(spec, self.history, self.groups), FEATURE_BATCH)
            name = f"views of {stream.name}"
            self.computed.append(made.name(name).uid(f"views-{stream.name}").disable_chaining())
            for view in stream.views:
                self.add(made, view)


if __name__ == "__main__":
    sys.exit(run(build, BackfillSettings, sys.argv[1:], check))
