"""The online store in a real Redis: what is written and refused, what Feast makes of it, and Redis away."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import redis

from devservices.process import wait_until
from devservices.redis import Redis
from schemas.errors import StoreError
from schemas.features.declarations import FeatureType
from schemas.features.feature_batch import ARROW, CREATED, TIMESTAMP, FeatureBatch
from udfs.stores.online.base import RedisOptions, State, StoredView
from udfs.stores.online.layout import KeyLayout, field, time_field
from udfs.stores.online.redis_reader import RedisReader
from udfs.stores.online.redis_writer import RedisWriter

HOUR = 3_600_000
NOW = int(time.time() * 1000)
COUNTS = StoredView(
    "counts_v1",
    (("account", FeatureType.INT64),),
    (("n", FeatureType.INT64), ("mean", FeatureType.FLOAT64)),
    HOUR,
)


def rows(view: StoredView, *values: Sequence[Any]) -> FeatureBatch:
    """A batch of rows (entity..., features..., event time)."""
    named = [*view.entity, *view.features]
    columns = list(zip(*values, strict=True))
    arrays = [pa.array(column, ARROW[kind]) for column, (_, kind) in zip(columns, named, strict=False)]
    times = pa.array(columns[-1], pa.int64())
    names = [*(name for name, _ in named), TIMESTAMP, CREATED]
    return FeatureBatch(view.id, True, pa.RecordBatch.from_arrays([*arrays, times, times], names))


def key_of(view: StoredView, options: RedisOptions, *entity: Any) -> bytes:
    return KeyLayout(view, options.project).keys_of([entity], [name for name, _ in view.entity])[0]


@pytest.fixture
def options(redis_server: Redis) -> RedisOptions:
    """The session's server, with a project for this test alone."""
    return RedisOptions(url=redis_server.url, project=uuid.uuid4().hex, backoff_s=0.01, backoff_most_s=0.05)


@pytest.fixture
def writer(options: RedisOptions) -> Iterator[RedisWriter]:
    made = RedisWriter(COUNTS, options)
    yield made
    made.close()


def read(view: StoredView, options: RedisOptions, *entities: tuple[Any, ...], now: int = NOW) -> list[Any]:
    reader = RedisReader({view.id: view}, options)
    try:
        return reader.read([(view.id, [name for name, _ in view.features])], [entities], now)[0]
    finally:
        reader.close()


EVERY = StoredView(
    "every_type_v2",
    (("user", FeatureType.STRING), ("account", FeatureType.INT64)),
    tuple((f"a_{kind}", kind) for kind in FeatureType),
    HOUR,
)
FULL: dict[FeatureType, Any] = {
    FeatureType.INT64: -(2**63),
    FeatureType.FLOAT64: -0.1,
    FeatureType.BOOL: False,
    FeatureType.STRING: "Zürich",
    FeatureType.TIMESTAMP: 1_760_000_000_123,
    FeatureType.INT64_LIST: [0, -1, 2**40],
    FeatureType.FLOAT64_LIST: [1.5, float("inf")],
    FeatureType.STRING_LIST: ["", "a" * 300],
}
VALUES = tuple(FULL[kind] for _, kind in EVERY.features)
NULLS = (None,) * len(VALUES)


def test_every_type_and_null_come_back(options: RedisOptions) -> None:
    writer = RedisWriter(EVERY, options)
    written = writer.write(rows(EVERY, ("ann", 1, *VALUES, NOW), ("ann", 2, *NULLS, NOW - 1)))
    assert (written.written, written.older, written.expired, written.coalesced) == (2, 0, 0, 0)
    found = read(EVERY, options, ("ann", 1), ("ann", 2), ("bob", 1))
    assert [f.state for f in found] == [State.PRESENT, State.PRESENT, State.MISSING]
    assert [f.values for f in found] == [VALUES, NULLS, NULLS]
    assert [f.event_time for f in found] == [NOW, NOW - 1, 0]
    writer.close()


def test_many_rows_take_several_scripts(writer: RedisWriter, options: RedisOptions) -> None:
    batch = rows(COUNTS, *((i, i, i / 7, NOW - i) for i in range(3000)))
    assert writer.write(batch).written == 3000
    found = read(COUNTS, options, *((i,) for i in range(3000)))
    assert [(f.values, f.event_time) for f in found] == [((i, i / 7), NOW - i) for i in range(3000)]


@pytest.mark.parametrize("features", [1, 39, 40, 1000])
def test_narrow_and_wide_views(options: RedisOptions, features: int) -> None:
    names = tuple((f"n{i}", FeatureType.INT64) for i in range(features))
    view = replace(COUNTS, id=f"wide{features}_v1", features=names)
    writer = RedisWriter(view, options)
    batches = [rows(view, *((e, *range(e, e + features), NOW + at) for e in range(3))) for at in (1, 0)]
    assert [(d.written, d.older) for d in map(writer.write, batches)] == [(3, 0), (0, 3)]
    found = read(view, options, (0,), (1,), (2,))
    assert [(f.event_time, f.values) for f in found] == [
        (NOW + 1, tuple(range(e, e + features))) for e in range(3)
    ]
    writer.close()


def test_one_read_for_several_views_is_one_round_trip(
    options: RedisOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(COUNTS, id="counts_v2")
    for view in (COUNTS, other):
        RedisWriter(view, options).write(rows(view, *((i, i, None, NOW) for i in range(50))))
    reader = RedisReader({v.id: v for v in (COUNTS, other)}, options)
    entities = [(i,) for i in range(50)]
    reader.read([], [], NOW)
    reader.read([("counts_v1", ["n"])], [entities], NOW)  # so that it is connected
    steps: list[str] = []
    for name in ("send_packed_command", "read_response"):
        original = getattr(redis.Connection, name)

        def noted(self: Any, *args: Any, name: str = name, original: Any = original, **more: Any) -> Any:
            steps.append(name)
            return original(self, *args, **more)

        monkeypatch.setattr(redis.Connection, name, noted)
    ask = [("counts_v1", ["n"]), ("counts_v2", ["mean", "n"])]
    first, second = reader.read(ask, [entities, entities], NOW)
    assert [f.values for f in first] == [(i,) for i in range(50)]
    assert [f.values for f in second] == [(None, i) for i in range(50)]
    assert steps == ["send_packed_command", *["read_response"] * 100]
    reader.close()


def test_the_newest_row_of_a_batch_counts_and_all_are_accounted_for(
    writer: RedisWriter, options: RedisOptions
) -> None:
    batch = rows(
        COUNTS,
        (1, 10, None, NOW),
        (1, 11, None, NOW - 5),
        (1, 12, None, NOW),  # of equal times the last
        (2, 20, None, NOW - 2 * HOUR),
    )
    done = writer.write(batch)
    assert (done.written, done.older, done.expired, done.coalesced) == (1, 0, 1, 2)
    assert [f.values[0] for f in read(COUNTS, options, (1,), (2,))] == [12, None]
    done = writer.write(rows(COUNTS, (1, 13, None, NOW - 1), (3, 30, None, NOW)))
    assert (done.written, done.older, done.expired, done.coalesced) == (1, 1, 0, 0)
    assert [f.values[0] for f in read(COUNTS, options, (1,), (3,))] == [12, 30]


def test_a_batch_of_expired_rows_alone_writes_nothing(writer: RedisWriter, options: RedisOptions) -> None:
    done = writer.write(rows(COUNTS, (1, 1, None, NOW - 2 * HOUR), (1, 2, None, NOW - 3 * HOUR)))
    assert (done.written, done.older, done.expired, done.coalesced) == (0, 0, 2, 0)
    assert read(COUNTS, options, (1,))[0].state is State.MISSING


def test_never_older_over_newer_by_two_writers_at_once(options: RedisOptions) -> None:
    entities, each = 40, 60
    rng = np.random.default_rng(5)
    plans = [
        [rows(COUNTS, *((e, int(t), float(t), NOW - int(t)) for e in range(entities)))
         for t in rng.permutation(np.arange(part, 2 * each, 2))]
        for part in (0, 1)
    ]  # fmt: skip
    totals: list[int] = []

    def run(batches: list[FeatureBatch]) -> None:
        writer = RedisWriter(COUNTS, options)
        for batch in batches:
            done = writer.write(batch)
            totals.append(done.written + done.older)
        writer.close()

    threads = [threading.Thread(target=run, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert totals == [entities] * 2 * each
    found = read(COUNTS, options, *((e,) for e in range(entities)))
    assert {(f.event_time, f.values) for f in found} == {(NOW, (0, 0.0))}


def test_times_before_1970_and_within_a_millisecond_are_compared(
    options: RedisOptions, redis_server: Redis
) -> None:
    from google.protobuf.timestamp_pb2 import Timestamp

    forever = replace(COUNTS, ttl_ms=100 * 365 * 24 * HOUR)
    writer = RedisWriter(forever, options)
    key, stamp = key_of(forever, options, 1), time_field(forever.id)
    cases = [
        (Timestamp(seconds=-2, nanos=5), -2000, False),
        (Timestamp(seconds=-2, nanos=5), -1999, True),
        (Timestamp(seconds=-2), -2000, True),
        (Timestamp(seconds=-(2**33)), -2001, True),
        (Timestamp(seconds=-1), 0, True),
        (Timestamp(), -1, False),
        (Timestamp(nanos=1_000_000), 0, False),
        (Timestamp(seconds=1_760_000_000, nanos=1_001_000), 1_760_000_000_001, False),
        (Timestamp(seconds=1_760_000_000, nanos=1_000_000), 1_760_000_000_001, True),
        (Timestamp(seconds=1_760_000_000, nanos=999_000), 1_760_000_000_001, True),
    ]
    with redis_server.client() as client:
        for stored, new, wins in cases:
            client.delete(key)
            client.hset(key, mapping={stamp: stored.SerializeToString()})
            assert writer.write(rows(forever, (1, 7, None, new))).written == int(wins), (stored, new)
            assert (client.hget(key, field(forever.id, "n")) is not None) == wins
    writer.close()


def test_a_replay_changes_nothing(writer: RedisWriter, options: RedisOptions, redis_server: Redis) -> None:
    batch = rows(COUNTS, *((i, i, None, NOW + i) for i in range(300)))
    with redis_server.client() as client:

        def stored() -> list[Any]:
            keys = [key_of(COUNTS, options, i) for i in range(300)]
            return [(client.hgetall(key), client.pexpiretime(key)) for key in keys]

        writer.write(batch)
        before = stored()
        assert writer.write(batch).written == 300
        assert stored() == before


def test_expiry_is_the_longest_of_the_views_and_never_shortened(
    options: RedisOptions, redis_server: Redis
) -> None:
    longer, shorter = (
        replace(COUNTS, id="longer_v1", ttl_ms=2 * HOUR),
        replace(COUNTS, id="short_v1", ttl_ms=5000),
    )
    key = key_of(COUNTS, options, 1)

    def at_now() -> float:
        return NOW / 1000

    with redis_server.client() as client:
        for view, at, expiry in (
            (COUNTS, NOW, NOW + HOUR),
            (COUNTS, NOW + 5, NOW + 5 + HOUR),
            (longer, NOW, NOW + 2 * HOUR),
            (shorter, NOW, NOW + 2 * HOUR),
            (COUNTS, NOW + 9, NOW + 2 * HOUR),
        ):
            RedisWriter(view, options, now=at_now).write(rows(view, (1, 7, None, at)))
            assert client.pexpiretime(key) == expiry
        # What somebody else keeps for ever is not ended by us.
        forever = key_of(COUNTS, options, 2)
        client.hset(forever, mapping={"_ts:theirs": b""})
        RedisWriter(COUNTS, options, now=at_now).write(rows(COUNTS, (2, 7, None, NOW)))
        assert client.pexpiretime(forever) == -1
    found = read(shorter, options, (1,), (2,), now=NOW + 5000)
    assert [f.state for f in found] == [State.PRESENT, State.MISSING]
    found = read(shorter, options, (1,), now=NOW + 5001)
    assert (found[0].state, found[0].event_time, found[0].values) == (State.EXPIRED, NOW, (7, None))


def test_redis_forgets_an_expired_row_and_keeps_it_as_long_as_asked(
    options: RedisOptions, redis_server: Redis
) -> None:
    brief = replace(COUNTS, ttl_ms=60_000)
    kept = replace(options, keep_expired_s=3600.0)
    at = int(time.time() * 1000) - 59_000
    RedisWriter(brief, kept).write(rows(brief, (1, 7, None, at)))
    RedisWriter(brief, options).write(rows(brief, (2, 8, None, at)))
    with redis_server.client() as client:
        assert client.pexpiretime(key_of(brief, options, 1)) == at + 60_000 + HOUR
        gone = key_of(brief, options, 2)
        wait_until(lambda: not client.exists(gone), 30, lambda: "the row is still there")
    found = read(brief, options, (1,), (2,), now=int(time.time() * 1000))
    assert [f.state for f in found] == [State.EXPIRED, State.MISSING]


def test_feast_reads_what_we_write_and_we_read_what_feast_writes(
    options: RedisOptions, redis_server: Redis, tmp_path: Path
) -> None:
    import pandas as pd
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast import types as feast_types

    kinds = {
        FeatureType.INT64: feast_types.Int64,
        FeatureType.FLOAT64: feast_types.Float64,
        FeatureType.BOOL: feast_types.Bool,
        FeatureType.STRING: feast_types.String,
        FeatureType.TIMESTAMP: feast_types.Int64,
        FeatureType.INT64_LIST: feast_types.Array(feast_types.Int64),
        FeatureType.FLOAT64_LIST: feast_types.Array(feast_types.Float64),
        FeatureType.STRING_LIST: feast_types.Array(feast_types.String),
    }
    where = f"{redis_server.host}:{redis_server.port}"
    config = RepoConfig(
        project=options.project.translate(str.maketrans("0123456789", "ghijklmnop")),
        registry=str(tmp_path / "registry.db"),
        provider="local",
        online_store={"type": "redis", "connection_string": where},
        entity_key_serialization_version=3,
    )
    options = replace(options, project=config.project)
    store = FeatureStore(config=config)
    entities = [
        Entity(name="user", value_type=ValueType.STRING),
        Entity(name="account", value_type=ValueType.INT64),
    ]
    view = FeatureView(
        name=EVERY.id,
        entities=entities,
        source=FileSource(path=str(tmp_path / "none.parquet"), timestamp_field=TIMESTAMP),
        schema=[
            *(Field(name=n, dtype=kinds[k]) for n, k in EVERY.entity),
            *(Field(name=n, dtype=kinds[k]) for n, k in EVERY.features),
        ],
    )
    store.apply([*entities, view])
    names = [name for name, _ in EVERY.features]

    writer = RedisWriter(EVERY, options)
    writer.write(rows(EVERY, ("ann", 1, *VALUES, NOW), ("ann", -2, *NULLS, NOW)))
    asked = [{"user": "ann", "account": 1}, {"user": "ann", "account": -2}, {"user": "bob", "account": 1}]
    answer = store.get_online_features([f"{EVERY.id}:{n}" for n in names], asked).to_dict()
    assert [answer[name] for name in names] == [[value, None, None] for value in VALUES]

    theirs = {name: [value] for name, value in zip(names, VALUES, strict=True)}
    at = pd.Timestamp(NOW + 1000, unit="ms", tz="UTC")
    store.write_to_online_store(
        EVERY.id, pd.DataFrame({"user": ["bob"], "account": [1], **theirs, TIMESTAMP: [at]})
    )
    (found,) = read(EVERY, options, ("bob", 1))
    assert (found.state, found.event_time, found.values) == (State.PRESENT, NOW + 1000, VALUES)
    # Their row is newer than ours, and ours later than theirs.
    assert writer.write(rows(EVERY, ("bob", 1, *NULLS, NOW + 999))).older == 1
    assert writer.write(rows(EVERY, ("bob", 1, *NULLS, NOW + 1001))).written == 1
    assert read(EVERY, options, ("bob", 1))[0].values == NULLS
    writer.close()


@pytest.fixture
def durable() -> Iterator[Redis]:
    """A server that keeps what it has acknowledged when it is killed."""
    if not Redis.available():
        pytest.skip("redis-server is not installed (scripts/setup installs it where it may)")
    # With the default it may answer before it writes, while the disk is busy with what was written before.
    with Redis({"appendonly": "yes", "appendfsync": "always"}) as server:
        yield server


def test_nothing_is_lost_when_redis_is_killed_and_started_amid_writes(durable: Redis) -> None:
    options = RedisOptions(url=durable.url, backoff_s=0.01, backoff_most_s=0.05)
    writer = RedisWriter(COUNTS, options)
    done: list[int] = []
    stop = threading.Event()

    def run() -> None:
        batch = 0
        while not stop.is_set() or batch < 20:
            first = batch * 200
            result = writer.write(rows(COUNTS, *((i, i, None, NOW) for i in range(first, first + 200))))
            done.append(result.written)
            batch += 1

    thread = threading.Thread(target=run)
    thread.start()
    for _ in range(3):
        seen, retries = len(done), writer.retries
        wait_until(lambda seen=seen: len(done) > seen + 3, 60, lambda: "no batch is written")
        durable.kill()
        wait_until(lambda retries=retries: writer.retries > retries + 1, 60, lambda: "no try has failed")
        assert thread.is_alive()
        durable.start()
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert done == [200] * len(done)
    found = read(COUNTS, options, *((i,) for i in range(200 * len(done))))
    assert [f.values[0] for f in found] == list(range(200 * len(done)))
    writer.close()


def test_while_redis_is_away_the_write_waits_says_so_and_can_be_ended(
    durable: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    options = RedisOptions(url=durable.url, backoff_s=0.01, backoff_most_s=0.02)
    pauses: list[float] = []

    def until_fifth(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 5:
            durable.start()

    durable.kill()
    writer = RedisWriter(COUNTS, options, sleep=until_fifth)
    done = writer.write(rows(COUNTS, (1, 7, None, NOW)))
    assert (done.written, done.retries, writer.retries) == (1, 5, 5)
    assert pauses == [0.01, 0.02, 0.02, 0.02, 0.02]
    assert "Redis takes no rows of view counts_v1" in caplog.text

    class CancelledError(Exception):
        pass

    def cancelled(_: float) -> None:
        raise CancelledError

    durable.kill()
    with pytest.raises(CancelledError):
        RedisWriter(COUNTS, options, sleep=cancelled).write(rows(COUNTS, (1, 8, None, NOW)))
    reader = RedisReader({COUNTS.id: COUNTS}, options)
    with pytest.raises(StoreError, match="did not answer"):
        reader.read([(COUNTS.id, ["n"])], [[(1,)]], NOW)
    durable.start()
    assert reader.read([(COUNTS.id, ["n"])], [[(1,)]], NOW)[0][0].values == (7,)
    reader.close()
    writer.close()


def test_a_forgotten_script_is_sent_again(writer: RedisWriter, redis_server: Redis) -> None:
    writer.write(rows(COUNTS, (1, 7, None, NOW)))
    with redis_server.client() as client:
        client.script_flush()
    assert writer.write(rows(COUNTS, (1, 8, None, NOW))).written == 1


def test_what_waiting_cannot_mend_is_an_error(
    writer: RedisWriter, options: RedisOptions, redis_server: Redis
) -> None:
    with redis_server.client() as client:
        client.set(key_of(COUNTS, options, 4), "text")
        batch = rows(COUNTS, *((i, 7, None, NOW) for i in range(9)))
        with pytest.raises(StoreError, match=r"WRONGTYPE.*row 5"):
            writer.write(batch)
        with pytest.raises(StoreError, match="WRONGTYPE"):
            read(COUNTS, options, (4,))
        client.hset(key_of(COUNTS, options, 3), field(COUNTS.id, "n"), b"\x12\x01a")
        with pytest.raises(StoreError, match="holds text where int64 belongs"):
            read(COUNTS, options, (3,))
        client.hset(key_of(COUNTS, options, 3), time_field(COUNTS.id), b"\x08\xff")
        with pytest.raises(StoreError):
            read(COUNTS, options, (3,))
        with pytest.raises(StoreError, match="Redis refuses rows of view counts_v1"):
            writer.write(rows(COUNTS, (3, 7, None, NOW)))


def refused(call: Callable[[], Any], match: str) -> None:
    with pytest.raises(StoreError, match=match):
        call()


def test_passwords_users_and_memory(options: RedisOptions) -> None:
    if not Redis.available():
        pytest.skip("redis-server is not installed (scripts/setup installs it where it may)")
    batch = rows(COUNTS, (1, 7, None, NOW))
    with Redis({"requirepass": "geheim"}, {"password": "geheim"}) as server:
        options = replace(options, url=server.url)
        refused(lambda: RedisWriter(COUNTS, options).write(batch), "refuses")
        refused(lambda: RedisWriter(COUNTS, replace(options, password="falsch")).write(batch), "refuses")
        refused(lambda: read(COUNTS, replace(options, password="falsch"), (1,)), "refuses")
        known = replace(options, password="geheim")
        assert "geheim" not in repr(known)
        assert RedisWriter(COUNTS, known).write(batch).written == 1
        assert read(COUNTS, known, (1,))[0].values == (7, None)
        with server.client() as client:
            client.acl_setuser("reader", enabled=True, passwords=["+r"], keys=["*"], commands=["+hmget"])
            user = replace(options, username="reader", password="r")
            assert read(COUNTS, user, (1,))[0].values == (7, None)
            refused(lambda: RedisWriter(COUNTS, user).write(batch), "needs EVAL")
            client.config_set("maxmemory", 1)
            refused(lambda: RedisWriter(COUNTS, known).write(batch), "OOM|memory")


def certificates(folder: Path) -> Path:
    """Made in `folder`: two CAs, `ca` and `other`, and of the first a certificate `server` for 127.0.0.1."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed, which makes the certificates")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj")
    for name in ("ca", "other"):
        run(*new, f"/CN={name}", "-x509", "-days", "2", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    run(*new, "/CN=server", "-keyout", "server.key", "-out", "server.csr")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1")
    signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    run("x509", "-req", "-in", "server.csr", *signed, "-out", "server.pem")
    return folder


def test_tls_with_certificates_on_both_sides(options: RedisOptions, tmp_path: Path) -> None:
    made = certificates(tmp_path)
    ca, pem, key = str(made / "ca.pem"), str(made / "server.pem"), str(made / "server.key")
    settings = {"tls-port": "", "tls-cert-file": pem, "tls-key-file": key, "tls-ca-cert-file": ca}
    client = {"ssl": True, "ssl_ca_certs": ca, "ssl_certfile": pem, "ssl_keyfile": key}
    batch = rows(COUNTS, (1, 7, None, NOW))
    with Redis(settings, client) as server:
        tls = replace(options, url=server.url, ca_file=ca, certificate_file=pem, key_file=key)
        writer = RedisWriter(COUNTS, tls)
        assert writer.write(batch).written == 1
        assert read(COUNTS, tls, (1,))[0].values == (7, None)
        writer.close()
        # None of these is waited out.
        strange = replace(tls, ca_file=str(made / "other.pem"))
        refused(lambda: RedisWriter(COUNTS, strange).write(batch), "CERTIFICATE_VERIFY_FAILED")
        nobody = replace(tls, certificate_file="", key_file="")
        refused(lambda: RedisWriter(COUNTS, nobody).write(batch), "(?i)certificate")
        elsewhere = replace(tls, url=server.url.replace("127.0.0.1", "localhost"))
        refused(lambda: RedisWriter(COUNTS, elsewhere).write(batch), "localhost")
