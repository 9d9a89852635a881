"""Feature rows into the online store, a batch in one round trip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pyflink.common.typeinfo import Types
from pyflink.datastream import DataStream
from pyflink.datastream.connectors.base import Sink
from pyflink.datastream.functions import ProcessFunction, RuntimeContext
from pyflink.java_gateway import get_gateway

from operators.code_guard import check_code, code_digest
from operators.features.feature_rows import features_of
from udfs.stores.online.base import RedisOptions, StoredView
from udfs.stores.online.redis_writer import RedisWriter


class WriteOnline(ProcessFunction):
    """Rows of FEATURE_BATCH into Redis. Holds no state: a batch has been written when its call returns, so
    that what a checkpoint covers is stored. A replay changes nothing. While Redis is away the call waits,
    and with it all that is upstream.
    """

    def __init__(self, views: Mapping[str, StoredView], store: RedisOptions) -> None:
        self._code = code_digest()
        self._views, self._store = views, store
        self._writers: dict[str, RedisWriter] = {}

    def open(self, context: RuntimeContext) -> None:
        check_code(self._code)
        self._writers = {name: RedisWriter(view, self._store) for name, view in self._views.items()}

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    def process_element(self, value: Any, ctx: ProcessFunction.Context) -> Iterator[Any]:
        batch = features_of(value)
        self._writers[batch.view].write(batch)
        yield from ()


def add_redis_sink(rows: DataStream, views: Mapping[str, StoredView], store: RedisOptions, name: str) -> None:
    """`name` tells several of a job apart."""
    written = rows.process(WriteOnline(views, store), Types.STRING())
    written.name(f"write {name} to Redis").uid(f"redis-{name}").start_new_chain()
    nothing = get_gateway().jvm.org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink()
    written.sink_to(Sink(nothing)).name(f"{name} written").uid(f"redis-{name}-end")
