"""What the jobs share: their streams by the settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment

from jobs.broker import connection, named_topics
from jobs.settings.experiment import ExperimentSettings
from jobs.settings.serve import JobSettings, ServeSettings
from jobs.settings.streams import Place, StreamSettings, Transactions
from operators.environment import checkpoint_folder
from operators.key_groups import KeyGroups, key_groups
from operators.rows import DEAD_LETTERS, MODEL_EVENTS, MODEL_STATS, OUTPUTS
from operators.serving.scorer import Scorer
from operators.side_outputs import side_output
from operators.sinks.folder import add_folder_sink
from operators.sinks.kafka import add_kafka_sink
from operators.sources.folder import FolderReading, folder_records
from operators.sources.gathering import DataTypes, micro_batches
from operators.sources.kafka import Reading, kafka_records
from operators.sources.models import PublishedModels
from udfs.io.delivery import Delivery
from udfs.io.gathering import Gathering
from udfs.models.model_store import StoreSpec

ReadsModels = JobSettings | ExperimentSettings


def scored_stream(
    env: StreamExecutionEnvironment,
    settings: ServeSettings,
    records: KeyedStream,
    models: KeyedStream,
    groups: KeyGroups | None,
) -> DataStream:
    """OUTPUTS where records and models meet: by data type, or with `groups` where the records are read."""
    spec = settings.scoring(model_store(env, settings))
    scored = records.connect(models).process(Scorer(spec, groups, settings.shared()), OUTPUTS)
    return scored.name("score").uid("score").set_buffer_timeout(0).disable_chaining()


def record_stream(
    env: StreamExecutionEnvironment, settings: JobSettings, groups: KeyGroups | None
) -> KeyedStream:
    """Micro-batches of records, keyed by data type, or with `groups` by the instance that reads them."""
    kafka = settings.kafka if settings.reads_kafka else None
    types = DataTypes({}) if kafka is None else DataTypes(kafka.records, kafka.data_type_header)
    records = read_records(env, settings, types.by_source, "records")
    return micro_batches(records, types, settings.gathering, "records", groups)


def model_stream(env: StreamExecutionEnvironment, settings: JobSettings) -> PublishedModels:
    """What is published, from the beginning: what serves is what was published last."""
    return published_models(env, settings, model_store(env, settings))


def published_models(
    env: StreamExecutionEnvironment, settings: ReadsModels, store: StoreSpec
) -> PublishedModels:
    """The model stream: the topic, or the folder `models`."""
    topics = named_topics(settings.kafka, ["models"])
    records = read_records(
        env, settings, topics, "models", start="earliest", seldom=True, whole_files=True, parallelism=1
    )
    # under one key, whatever file or topic they are from: counters of signatures are kept under it
    batches = micro_batches(records, DataTypes({}), Gathering(max_records=64), "models", key_groups(env))
    return PublishedModels.of(batches, store, settings.signing.spec(settings.name))


def read_records(
    env: StreamExecutionEnvironment,
    settings: StreamSettings,
    topics: Iterable[str],
    name: str,
    *,
    start: str | None = None,
    seldom: bool = False,
    whole_files: bool = False,
    parallelism: int | None = None,
) -> Any:
    """A Java stream of `ConsumerRecord`: of the topics, or of the folder `name`, as `settings.source` says.

    `name`: of the source, and its uid. `start`: where to begin in the topics, if not as the settings say.
    `seldom`: see `Reading`. `whole_files`: a file is one record, and not each of its lines.
    """
    kafka = settings.kafka
    if kafka is not None and settings.reads_kafka:
        reading = Reading(
            settings.consumer_group,
            start or kafka.start,
            settings.bounded,
            seldom,
            identified=kafka.check,
            anew=kafka.recreated == "anew",
        )
        return kafka_records(
            env, connection(kafka), list(topics), reading, name=name, parallelism=parallelism
        )
    assert settings.folder is not None
    folder = settings.folder.root.resolve() / name
    folder.mkdir(parents=True, exist_ok=True)
    place = FolderReading(folder.as_uri(), settings.folder.poll_ms, settings.bounded)
    return folder_records(env, place, name, whole_files=whole_files, parallelism=parallelism)


def model_store(env: StreamExecutionEnvironment, settings: JobSettings) -> StoreSpec:
    """Where models lie by content: as set, or beside checkpoints that are in a folder or bucket."""
    place = settings.model_store
    if not place and (checkpoints := checkpoint_folder(env)):
        place = checkpoints.rstrip("/") + "/models"
    return StoreSpec.at(place, settings.s3)


def add_outputs(scored: DataStream, settings: JobSettings, others: Sequence[DataStream] = ()) -> None:
    """Results, dead letters, model events and statistics, each to its topic or folder.

    `others`: operators whose side outputs go the same ways.
    """
    outputs = {"results": scored}
    for tag in (DEAD_LETTERS, MODEL_EVENTS, MODEL_STATS):
        outputs[tag.tag_id.replace("-", "_")] = side_output([scored, *others], tag)
    add_sinks(outputs, settings)


def add_sinks(outputs: Mapping[str, DataStream], settings: StreamSettings) -> None:
    """Each output to the topic that the broker's setting of its name says, to the folder of its name, or to
    both, as `settings.sinks` says."""
    for place in settings.writes:
        for name, output in outputs.items():
            add_sink(output, name, settings, place)


def add_sink(output: DataStream, name: str, settings: StreamSettings, place: Place) -> None:
    """One output to one place. Its uid is its name, so that a sink elsewhere than where the job reads can be
    added and left out under a savepoint."""
    uid = name.replace("_", "-")
    own = uid if place == settings.reads else f"{uid}-{place}"
    if place == "kafka":
        kafka = settings.kafka
        assert kafka is not None
        once = kafka.delivery(settings.name) if isinstance(kafka, Transactions) else None
        delivery = once or Delivery(exactly_once=False, prefix=settings.name)
        add_kafka_sink(output, connection(kafka), getattr(kafka, name), delivery, own)
    else:
        assert settings.folder is not None
        add_folder_sink(output, (settings.folder.root.resolve() / uid).as_uri(), own)
