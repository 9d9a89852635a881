"""Features from history, in batch: `flink run -py jobs/backfill.py --declarations FILE --history ...`, or
without a cluster with folders. The same views, the same engine as in `jobs/features.py`."""

from __future__ import annotations

import sys

from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

from jobs.feature_settings import BackfillSettings
from jobs.feature_stores import add_stores, check_stores
from jobs.running import run
from operators.block_row import DEAD_LETTERS
from operators.feature_rows import FEATURE_BLOCK, events_tag
from operators.folder_sink import add_folder_sink
from operators.history_source import by_stretch, history_events
from operators.result_lines import side_view
from operators.side_outputs import side_output
from operators.view_batch import ViewBatch
from schemas.errors import FeatureError
from schemas.features import Declarations
from udfs.events.reading import read_sources
from udfs.features.loading import load_declarations
from udfs.history.events import HistorySpec
from udfs.history.files import find_files


def build(
    env: StreamExecutionEnvironment, tables: StreamTableEnvironment, settings: BackfillSettings
) -> None:
    """Files to events, events to features, layer by layer; features to the stores."""
    declared = load_declarations(settings.declarations)
    operators: list[DataStream] = []
    computed: list[DataStream] = []
    for source, files in _files(declared, settings).items():
        history = HistorySpec(declared, source, settings.shards, settings.s3, settings.stretch_seconds * 1000)
        read = history_events(env, files, history)
        operators.append(read)
        events = by_stretch(side_output(read, events_tag(source)), source)
        _layer(computed, events, source, settings, history)
    statements = tables.create_statement_set()
    add_stores(tables, statements, computed, declared, settings)
    letters = side_view(tables, [*operators, *computed], DEAD_LETTERS)
    add_folder_sink(tables, statements, letters, settings.dead_letters)
    statements.attach_as_datastream()


def check(settings: BackfillSettings) -> None:
    """Raises the error of whatever is not there, before Flink starts."""
    declared = load_declarations(settings.declarations)
    _files(declared, settings)
    check_stores(declared, settings)


def _files(declared: Declarations, settings: BackfillSettings) -> dict[str, list[str]]:
    """Source -> its files, of the sources that views read. Raises `FeatureError` where there are none."""
    found = {}
    for source in declared.sources:
        if source.name in read_sources(declared, topics=False):
            found[source.name] = find_files(source.history, settings.s3) if source.history else []
            if not found[source.name]:
                raise FeatureError(f"source {source.name} has no files in its history {source.history!r}")
    return found


def _layer(
    computed: list[DataStream],
    events: KeyedStream,
    read: str,
    settings: BackfillSettings,
    history: HistorySpec,
) -> None:
    """The views that read one source or view, and those that read them, as operators."""
    declared = history.declared
    names = tuple(v.id for v in declared.views if v.source == read)
    rows = events.process(ViewBatch(settings.views(declared, names), history), FEATURE_BLOCK)
    computed.append(rows.name(f"views of {read}").uid(f"views-{read}").disable_chaining())
    for name in names:
        if any(v.source == name for v in declared.views):
            above = by_stretch(side_output(rows, events_tag(name)), name)
            _layer(computed, above, name, settings, history)


if __name__ == "__main__":
    sys.exit(run(build, BackfillSettings, sys.argv[1:], check))
