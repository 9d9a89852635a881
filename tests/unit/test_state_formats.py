"""Bytes of the values that operators keep in Flink state: a change of format without a version fails here.

`schemas/state/README.md` lists them. A savepoint of an earlier release holds exactly such bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from schemas.features.declarations import (
    Aggregate,
    Column,
    Count,
    Declarations,
    FeatureType,
    FeatureView,
    LastN,
    Reference,
    Source,
    Sum,
    Trailing,
)
from schemas.features.feature_batch import EVENT_ID, EVENT_TIME
from schemas.micro_batch import MicroBatch, decode_micro_batch, encode_micro_batch
from schemas.model_pb2 import CandidateLogs, ModelLog, RouterLog
from schemas.results.answers import Answer, AnswerOutcome, Asked, DecisionContext
from udfs.enrichment.base import PredictionRequest
from udfs.enrichment.wire import kept_request, write_request
from udfs.ensemble.collection.open_batch import LateAnswerRecord, Waiting
from udfs.ensemble.execution.job import PendingCall, decode_pending, encode_pending
from udfs.ensemble.routing.arms import ArmLog
from udfs.features.base import no_state
from udfs.features.engine import ViewEngine
from udfs.features.saved import GroupHeader, Saved, empty_from
from udfs.features.versions import Versions
from udfs.lifecycle.drift.alerts import Outlier
from udfs.lifecycle.drift.quality_change import QualityDetector
from udfs.lifecycle.experiments.declaration import Arm, Experiment, Metric, Sampling
from udfs.lifecycle.experiments.plans_seen import PlanLog, PlansSeen, WrittenPlan
from udfs.lifecycle.experiments.running import Running, read_running, write_running
from udfs.lifecycle.experiments.sampling import SampledArms
from udfs.lifecycle.outcomes import messages
from udfs.lifecycle.outcomes.fates import Fates, decode_fates, encode_fates
from udfs.lifecycle.outcomes.messages import Came, Kept, KeyEntry, Predicted, decode_entry, encode
from udfs.lifecycle.outcomes.telling import Windows, decode_windows, encode_windows, key_named, name_of
from udfs.lifecycle.quality.regression import RegressionSums
from udfs.lifecycle.quality.windows import QualityKey, read_sums, write_sums
from udfs.lifecycle.statistics.bins import Bins
from udfs.lifecycle.statistics.table import TableStatistics
from udfs.lifecycle.watching.series import PartialWindow, read_partial, write_partial
from udfs.lifecycle.watching.watched_quality import (
    VersionQuality,
    read_version_quality,
    write_version_quality,
)
from udfs.lifecycle.watching.watched_series import Episodes, read_episodes, write_episodes
from udfs.models.signing.counters import counter_name, decode_counter, encode_counter
from udfs.serving.buffering import BufferAccount, decode_account, encode_account

ENTRY = ModelLog.Entry(name="forest", version=3, sha256="ab", descriptor=b"d", attempts=1)
LOG = ModelLog(
    served=ENTRY,
    pending=[ENTRY],
    newest={"forest": 3},
    former=ENTRY,
    quarantined=[ModelLog.Quarantined(name="n", version=1, sha256="cd", reason="dies", since=5)],
)
BATCH = MicroBatch(
    "wine", "t", [b"{}", b""], [0, 1], [7, 8], [1, None], [b"k", None], [(("h", b"v"), ("h", None)), ()]
)
DECLARED_ONCE = Experiment(
    "e", "wine", "user", {"control": Arm("a"), "treatment": Arm("b", 2)}, Metric("correct")
)
DECISION_CONTEXT = DecisionContext(
    "b", "wine", 1, 101, (Asked("one"), Asked("two", (0,), True)), b"{}", "plan", 2
)
RUNNING = Running.begun(DECLARED_ONCE, 7, 5)
SAMPLED = Running.begun(msgspec.structs.replace(DECLARED_ONCE, sampling=Sampling()), 7, 5)
ANSWER = Answer("b", "wine", "one", AnswerOutcome.SCORED, 3, "ab", ms=0.5, waited_ms=1.5)

PREDICTED = Predicted(
    "wine", "t", 0, 7, 5, "forest", 3, "ab", "scored", 0.5, 0.25, '{"p":0.25}', "ann", {"country": "de"}
)
ENTRY_OF_A_KEY = KeyEntry(
    [messages.Waiting(messages.pack(PREDICTED), 99, 1, 1.0, "true", 8, {"revenue": 2.5})],
    [Kept(Came("wine", 8, 1.0, "true", 9, "labels", 0, 2, b"{}", {"revenue": 2.5}), 100, False, True)],
    past=[(120_000, "")],
)


QUALITY = VersionQuality(
    QualityDetector(0.1, 100.0, 2, [0.5, -1.0], [0, 1]), {0: 60_000}, {"key": 60_000}, 120_000, (60_000, 3, 1)
)
EPISODES = Episodes({"x": 60_000}, {"drift/x": 60_000})


def window() -> PartialWindow:
    """A window with all kinds of values, whose registers of distinct values are left out of the bytes."""
    table = TableStatistics.counted_in({"x": Bins((0.5,), ("red",))})
    table.add([{"x": 1.5}, {"x": "red"}, {"x": None}])
    table.features["x"].registers = table.features["x"].registers[:4]
    outlier = Outlier("x", "x", "1.5", "t", 0, 7)
    return PartialWindow(start=60_000, statistics=table, unreadable=1, broken={"x": 1}, outliers=[outlier])


def log_of_plans(data: bytes) -> bytes:
    """As the controller keeps it after a restore."""
    plans = PlansSeen()
    plans.restore("wine", data)
    return plans.log("wine")


_SOURCE = Source(
    name="signals",
    columns=(
        Column(name="account", type=FeatureType.STRING),
        Column(name="at", type=FeatureType.TIMESTAMP),
        Column(name="amount", type=FeatureType.FLOAT64),
    ),
    event_time="at",
)
_MINUTES = Trailing(span="10 min", tile="1 min")
_VIEW = FeatureView(
    name="spend",
    version=1,
    entity=("account",),
    source="signals",
    features=(
        Aggregate(name="n", of=Count(), window=_MINUTES),
        Aggregate(name="total", of=Sum(column="amount"), window=_MINUTES),
        Aggregate(name="newest", of=LastN(column="amount", n=2), window=Trailing(span="5 s")),
    ),
    ttl="1 d",
    owner="tests",
    description="Money.",
)
DECLARED = Declarations(sources=(_SOURCE,), views=(_VIEW,))
SAVED = Saved(_VIEW, ())
HEADER = GroupHeader(59_999, None, {b"\x01\x01\x00\x00\x00a": 60_000}, 59_000)
ZIPS = Reference(
    name="zips",
    key="zip",
    event_time="since",
    deleted="gone",
    columns=(
        Column(name="zip", type=FeatureType.INT64),
        Column(name="since", type=FeatureType.TIMESTAMP),
        Column(name="town", type=FeatureType.STRING, nullable=True),
        Column(name="gone", type=FeatureType.BOOL, nullable=True),
    ),
)


def events(*rows: tuple[str, int, float]) -> pa.RecordBatch:
    columns = [pa.array(column) for column in zip(*rows, strict=True)]
    ids = pa.array([f"e{at}" for _, at, _ in rows])
    return pa.record_batch([*columns, ids], names=["account", EVENT_TIME, "amount", EVENT_ID])


def packed(value: Any) -> bytes:
    return msgspec.msgpack.encode(value)


def unpacked(kind: Any) -> Callable[[bytes], Any]:
    return lambda data: msgspec.msgpack.decode(data, type=kind)


def proto(message: Any) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))


# name -> value, how it is written, how it is read, its bytes
FORMATS: dict[str, tuple[Any, Callable[[Any], bytes], Callable[[bytes], Any], str]] = {
    "model-logs": (
        LOG,
        proto,
        ModelLog.FromString,
        (
            "0a130a06666f7265737410031a026162220164280112130a06666f7265737410031a02616222016428011a0a"
            "0a06666f72657374100322130a06666f7265737410031a02616222016428012a110a016e10011a0263642204"
            "646965732805"
        ),
    ),
    "candidate-logs": (
        CandidateLogs(
            logs={"forest": LOG},
            heard=RouterLog(candidates=[RouterLog.Candidate(name="linear", log=ModelLog(served=ENTRY))]),
        ),
        proto,
        CandidateLogs.FromString,
        (
            "0a680a06666f72657374125e0a130a06666f7265737410031a026162220164280112130a06666f7265737410"
            "031a02616222016428011a0a0a06666f72657374100322130a06666f7265737410031a02616222016428012a"
            "110a016e10011a0263642204646965732805"
            "1a210a1f0a066c696e65617212150a130a06666f7265737410031a0261622201642801"
        ),
    ),
    "arms": (
        ArmLog(proto(LOG), [(5, b"d"), (6, b"")]),
        packed,
        unpacked(ArmLog),
        (
            "83a876657273696f6e73c45e0a130a06666f7265737410031a026162220164280112130a06666f7265737410"
            "031a02616222016428011a0a0a06666f72657374100322130a06666f7265737410031a02616222016428012a"
            "110a016e10011a0263642204646965732805a5706c616e73929205c401649206c400a776657273696f6e01"
        ),
    ),
    "candidates": (
        RouterLog(candidates=[RouterLog.Candidate(name="forest", log=LOG, metrics={"auc": 0.5})]),
        proto,
        RouterLog.FromString,
        (
            "0a780a06666f72657374125e0a130a06666f7265737410031a026162220164280112130a06666f7265737410"
            "031a02616222016428011a0a0a06666f72657374100322130a06666f7265737410031a02616222016428012a"
            "110a016e10011a0263642204646965732805220e0a0361756311000000000000e03f"
        ),
    ),
    "buffered": (
        BATCH,
        encode_micro_batch,
        decode_micro_batch,
        (
            "01030400010000000200000077696e6574070000000000000008000000000000000100000000000000000000"
            "00000000800000000001000000020000000000000001000000ffffffff13000000000000007b7d6b01000000"
            "6801000000760100000068ffffffff"
        ),
    ),
    "buffer-accounts": (
        BufferAccount(2, 3, 4, 5, -1),
        encode_account,
        decode_account,
        "020200000000000000030000000000000004000000000000000500000000000000ffffffffffffffff",
    ),
    "signature-counters": (1_764_339_000_000_000, encode_counter, decode_counter, "0100be5b2fa8440600"),
    "pending": (
        [PendingCall("b", "wine", "one", 7)],
        encode_pending,
        decode_pending,
        "9194a162a477696e65a36f6e6507",
    ),
    "batches, waiting": (
        Waiting(packed(DECISION_CONTEXT), b"batch"),
        packed,
        unpacked(Waiting | LateAnswerRecord),
        (
            "83a474797065a777616974696e67ab6578706563746174696f6ec49f89a862617463685f6964a162a9646174"
            "615f74797065a477696e65a76372656174656401a8646561646c696e6565a561736b65649283a963616e6469"
            "64617465a36f6e65a4726f7773c0a6736861646f77c283a963616e646964617465a374776fa4726f77739100"
            "a6736861646f77c3a4706c616ec4027b7da9706c616e5f6e616d65a4706c616eac706c616e5f76657273696f"
            "6e02a76d65747269637380a56261746368c4056261746368"
        ),
    ),
    "batches, decided": (
        LateAnswerRecord("wine", 101, {"two": 1}),
        packed,
        unpacked(Waiting | LateAnswerRecord),
        (
            "84a474797065a764656369646564a9646174615f74797065a477696e65a8646561646c696e6565a76d697373"
            "696e6781a374776f01"
        ),
    ),
    "answers": (
        [packed(ANSWER)],
        packed,
        unpacked(list[bytes]),
        (
            "91c48d8da862617463685f6964a162a9646174615f74797065a477696e65a963616e646964617465a36f6e65"
            "a76f7574636f6d65a673636f726564a776657273696f6e03a6646967657374a26162a4726f7773c0a7636f6c"
            "756d6e7380a362616480a5756e66697480a26d73cb3fe0000000000000a97761697465645f6d73cb3ff80000"
            "00000000a6726561736f6ea0"
        ),
    ),
    "windows": (
        write_partial(window()),
        bytes,
        lambda data: write_partial(read_partial(data)),
        (
            "9601cdea60c5016383a46b696e64b36d696c6c726163652d73746174697374696373a776657273696f6e01a5"
            "7461626c6582a8666561747572657381a1788fa462696e739291cb3fe000000000000091a3726564a4726f77"
            "7303a6616273656e7400a56e756c6c7301a66e657374656400a5666c61677300a5746578747301a8696e6669"
            "6e69746500a96672616374696f6e7301a76e756d626572739601cb3ff8000000000000cb0000000000000000"
            "cb3ff8000000000000cb3ff800000000000000ac746578745f6c656e677468739601cb4008000000000000cb"
            "0000000000000000cb4008000000000000cb400800000000000000a86672657175656e749281a37265640100"
            "a972656769737465727392a37c7531c40400000000ad6e756d6265725f636f756e747392a33c6938c4100000"
            "0000000000000100000000000000ab746578745f636f756e747392a33c6938c4100100000000000000000000"
            "0000000000a4726f7773030181a178019186a472756c65a178a766656174757265a178a576616c7565a3312e"
            "35a6736f75726365a174a9706172746974696f6e00a66f666673657407"
        ),
    ),
    "qualities": (
        QUALITY,
        write_version_quality,
        read_version_quality,
        (
            "86a86465746563746f7286a8626173656c696e65cb3fb999999999999aa870617469656e6365cb4059000000"
            "000000a76261746368657302a86c6f675f73756d7392cb3fe0000000000000cbbff0000000000000a6737461"
            "727473920001a7616c61726d6564c2a777696e646f77738100cdea60a47365656e81a36b6579cdea60a7616c"
            "61726d6564ce0001d4c0a66c617465737493cdea600301a776657273696f6e01"
        ),
    ),
    "episodes": (EPISODES, write_episodes, read_episodes, "9381a178cdea6081a764726966742f78cdea6001"),
    "predictions": (
        ENTRY_OF_A_KEY,
        encode,
        decode_entry,
        (
            "949197dc0014a477696e65a174000705a6666f7265737403a26162a673636f726564cb3fe0000000000000cb"
            "3fd0000000000000aa7b2270223a302e32357da3616e6e81a7636f756e747279a26465a0a0a000a0a06301cb"
            "3ff0000000000000a4747275650881a7726576656e7565cb400400000000000091949aa477696e6508cb3ff0"
            "000000000000a47472756509a66c6162656c730002c4027b7d81a7726576656e7565cb400400000000000064"
            "c2c3029192ce0001d4c0a0"
        ),
    ),
    "fates": (
        Fates(4, 3, {"joined": 2}, {"duplicate": 1}),
        encode_fates,
        decode_fates,
        (
            "85ae70726564696374696f6e735f696e04ab6f7574636f6d65735f696e03ab70726564696374696f6e7381a6"
            "6a6f696e656402a86f7574636f6d657381a96475706c696361746501a776657273696f6e01"
        ),
    ),
    "sums": (
        RegressionSums(2, 0, 1, 0.5, 0.25, -0.5, 0, {-34: 1}),
        write_sums,
        read_sums,
        (
            "9301a76e756d6265727388ab70726564696374696f6e7302a8756e73636f72656400a86f7574636f6d657301"
            "a86162736f6c757465cb3fe0000000000000a773717561726573cb3fd0000000000000a67369676e6564cbbf"
            "e0000000000000a5657861637400ac6572726f725f636f756e747381d0de01"
        ),
    ),
    "sums, with rests": (
        RegressionSums(2, 0, 1, 0.5, 1e24, -0.5, 0, {-34: 1}, {"squares": (8.0, 2.0**-60)}),
        write_sums,
        read_sums,
        (
            "9301a76e756d6265727389ab70726564696374696f6e7302a8756e73636f72656400a86f7574636f6d657301"
            "a86162736f6c757465cb3fe0000000000000a773717561726573cb44ea784379d99db4a67369676e6564cbbf"
            "e0000000000000a5657861637400ac6572726f725f636f756e747381d0de01a5726573747381a77371756172"
            "657392cb4020000000000000cb3c30000000000000"
        ),
    ),
    "names of sums": (
        QualityKey(
            60_000,
            "forest",
            3,
            "treatment",
            "",
            "plan",
            2,
            "e",
            "wine",
            (("country", "de"),),
        ),
        lambda key: name_of(key).encode(),
        lambda data: key_named(data.decode()),
        (
            "5b36303030302c22666f72657374222c332c2274726561746d656e74222c22222c22706c616e222c322c2265"
            "222c2277696e65222c5b5b22636f756e747279222c226465225d5d5d"
        ),
    ),
    "windows of quality": (
        Windows({0: 9, 1: 8}, 60_000),
        encode_windows,
        decode_windows,
        "938200090108cdea6001",
    ),
    "experiments": (
        RUNNING,
        write_running,
        read_running,
        (
            "8caa6578706572696d656e74de0016a46e616d65a165a9646174615f74797065a477696e65a6656e74697479"
            "a475736572a461726d7382a7636f6e74726f6c84a56d6f64656ca161a776657273696f6e00a4706c616ec0a6"
            "736861646f77a0a974726561746d656e7484a56d6f64656ca162a776657273696f6e02a4706c616ec0a67368"
            "61646f77a0a77072696d61727987a46e616d65a7636f7272656374a46b696e64a7626f756e646564a6626574"
            "746572a6686967686572a36c6f77cb0000000000000000a468696768cb3ff0000000000000a171cb3fefae14"
            "7ae147aea9746f6c6572616e6365cb0000000000000000a7636f6e74726f6ca7636f6e74726f6ca974726561"
            "746d656e74a974726561746d656e74a473616c74a0a57368617265cb3fe0000000000000a472616d7094cb3f"
            "947ae147ae147bcb3fb999999999999acb3fe0000000000000cb3ff0000000000000ad737465705f656e7469"
            "74696573cd01f4aa67756172647261696c7390a5616c706861cb3fa999999999999aa8736d616c6c657374cb"
            "3f847ae147ae147ba76275726e5f696eccc8ad6d6f73745f656e746974696573ce000186a0b470726f6d6f74"
            "655f69665f6e6f745f776f727365c2a6706169726564c2ae6174747269627574696f6e5f6d73ce0036ee80ab"
            "646561646c696e655f6d7364a3656e64c0a5616c696173a0a5737461746589a77072696d61727983a4747970"
            "65a7626f756e646564a46861726d86a47369676e01a66d617267696ecb8000000000000000ab6c6f675f6361"
            "706974616c9acb0000000000000000cb0000000000000000cb0000000000000000cb0000000000000000cb00"
            "00000000000000cb0000000000000000cb0000000000000000cb0000000000000000cb0000000000000000cb"
            "0000000000000000a768696768657374cb0000000000000000a5636f756e7400a5746f74616ccb0000000000"
            "000000a46761696e86a47369676effa66d617267696ecb0000000000000000ab6c6f675f6361706974616c9a"
            "cb0000000000000000cb0000000000000000cb0000000000000000cb0000000000000000cb00000000000000"
            "00cb0000000000000000cb0000000000000000cb0000000000000000cb0000000000000000cb000000000000"
            "0000a768696768657374cb0000000000000000a5636f756e7400a5746f74616ccb0000000000000000aa6775"
            "6172647261696c7380a673686172657380ae7368617265735f68696768657374cb0000000000000000a77665"
            "7273696f6e01a47374657000a8656e74697469657300af747265617465645f696e5f7374657000a764656369"
            "646564c0a77374617274656405ac706c616e5f76657273696f6e07a6737461747573a772756e6e696e67a66d"
            "6574726963a0a865766964656e6365a0a6726561736f6ea0a2617405a56d65616e7380a5756e66697400a776"
            "657273696f6e01"
        ),
    ),
    "experiments, sampled": (
        SAMPLED.sampled,
        msgspec.msgpack.encode,
        msgspec.msgpack.Decoder(SampledArms).decode,
        (
            "84a6736861726573810082a7636f6e74726f6ccb3fe0000000000000a974726561746d656e74cb3fe0000000"
            "000000a66a756467656481a974726561746d656e7489a77072696d61727983a474797065a7626f756e646564"
            "a46861726d86a47369676e01a66d617267696ecb8000000000000000ab6c6f675f6361706974616c9acb0000"
            "000000000000cb0000000000000000cb0000000000000000cb0000000000000000cb0000000000000000cb00"
            "00000000000000cb0000000000000000cb0000000000000000cb0000000000000000cb0000000000000000a7"
            "68696768657374cb0000000000000000a5636f756e7400a5746f74616ccb0000000000000000a46761696e86"
            "a47369676effa66d617267696ecb0000000000000000ab6c6f675f6361706974616c9acb0000000000000000"
            "cb0000000000000000cb0000000000000000cb0000000000000000cb0000000000000000cb00000000000000"
            "00cb0000000000000000cb0000000000000000cb0000000000000000cb0000000000000000a7686967686573"
            "74cb0000000000000000a5636f756e7400a5746f74616ccb0000000000000000aa67756172647261696c7380"
            "a673686172657380ae7368617265735f68696768657374cb0000000000000000a776657273696f6e01a47374"
            "657000a8656e74697469657300af747265617465645f696e5f7374657000a764656369646564c0a462657374"
            "a974726561746d656e74a573696e636500"
        ),
    ),
    "plans": (
        PlanLog(ModelLog(newest={"e": 3}).SerializeToString(), "{}", [WrittenPlan("e", 4, b"d")]),
        msgspec.msgpack.encode,
        lambda data: msgspec.msgpack.decode(log_of_plans(data), type=PlanLog),
        (
            "84a876657273696f6e73c4071a050a01651003a4706c616ea27b7da77772697474656e9193a16504c40164a7"
            "76657273696f6e01"
        ),
    ),
    "headers": (
        HEADER,
        SAVED.pack_header,
        SAVED.unpack_header,
        ("9702a87370656e645f7631c4083055c46799ad98fbcdea5fc40081c406010100000061cdea60cde678"),
    ),
    "open-requests": (
        PredictionRequest("r", "wine", {"id": 1}, created=5),
        write_request,
        kept_request,
        (
            "7b226964223a2272222c226d6f64656c223a2277696e65222c22656e746974696573223a7b226964223a317d"
            "2c2263726561746564223a357d"
        ),
    ),
}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_does_not_change_without_a_version(name: str) -> None:
    value, write, read, golden = FORMATS[name]
    assert write(value).hex() == golden
    assert read(bytes.fromhex(golden)) == value


def test_the_name_of_a_counter_does_not_change() -> None:
    assert counter_name("ab", 'wi"ne', "f") == '["ab","wi\\"ne","f"]'


def test_what_lies_in_other_values_reads_back() -> None:
    waiting = FORMATS["batches, waiting"][0]
    assert msgspec.msgpack.decode(waiting.context, type=DecisionContext) == DECISION_CONTEXT
    (answer,) = FORMATS["answers"][0]
    assert msgspec.msgpack.decode(answer, type=Answer) == ANSWER


ENTITY = (
    "020080fc0a00000000002e000000010000000000000001000000010101000000000000000000000000000040"
    "0100000000000000000000000000e03f1c00000048ee00000000000000000000010b0000000191cb3fe00000"
    "00000000"
)
PENDING = (
    "9702a87370656e645f7631c4083055c46799ad98fbcdea5fc502a0ffffffff200100001000000000000a000c"
    "000600050008000a000000000104000c0000000800080000000400080000000400000004000000c00000006c"
    "000000340000000400000060ffffff00000105100000001c00000004000000000000000a0000005f5f657665"
    "6e745f6964000054ffffff8cffffff000001031000000020000000040000000000000006000000616d6f756e"
    "74000000000600080006000600000000000200c0ffffff00000102100000002800000004000000000000000c"
    "0000005f5f6576656e745f74696d650000000008000c00080007000800000000000001400000001000140008"
    "00060007000c00000010001000000000000105100000001c0000000400000000000000070000006163636f75"
    "6e7400040004000400000000000000ffffffff3801000014000000000000000c0016000600050008000c000c"
    "0000000003040018000000300000000000000000000a0018000c00040008000a000000bc0000001000000001"
    "00000000000000000000000a0000000000000000000000000000000000000000000000000000000800000000"
    "0000000800000000000000010000000000000010000000000000000000000000000000100000000000000008"
    "0000000000000018000000000000000000000000000000180000000000000008000000000000002000000000"
    "0000000000000000000000200000000000000008000000000000002800000000000000050000000000000000"
    "0000000400000001000000000000000000000000000000010000000000000000000000000000000100000000"
    "00000000000000000000000100000000000000000000000000000000000000010000006100000000000000e8"
    "03000000000000000000000000004000000000050000006531303030000000ffffffff0000000081c4060101"
    "00000061cdea60cde678"
)
VERSIONS = "9201929205c40391a1789209c0"


def test_an_entity_of_a_view_is_written_and_read_as_ever() -> None:
    written = ViewEngine(_VIEW, DECLARED, no_state)
    written.add(events(("a", 1_000, 2.0), ("a", 61_000, 0.5)))
    written.advance(61_000, 7)
    ((key, entity),) = written.changes().entities[0].items()
    assert entity is not None and entity.hex() == ENTITY
    assert empty_from(entity) == 720_000
    stored = {key: bytes.fromhex(ENTITY)}
    read = ViewEngine(_VIEW, DECLARED, lambda keys: [stored[one] for one in keys])
    (provisional,) = read.add(events(("a", 62_000, 1.0))).batches
    assert [(r["n"], r["total"], r["newest"]) for r in provisional.rows.to_pylist()] == [(3, 3.5, [0.5, 1.0])]


def test_pending_events_of_a_key_group_are_read_as_ever() -> None:
    """Written bytes may differ: Arrow's own format has room for that."""
    pending = SAVED.unpack_header(bytes.fromhex(PENDING)).pending
    assert pending == events(("a", 1_000, 2.0))
    again = SAVED.unpack_header(SAVED.pack_header(replace(HEADER, pending=pending)))
    assert again.pending == pending


def test_versions_of_a_reference_are_written_and_read_as_ever() -> None:
    versions = Versions(ZIPS, ("town",))
    rows = {"zip": [1, 1], "town": ["x", None], "gone": [False, True], EVENT_TIME: [5, 9], EVENT_ID: ["", ""]}
    versions.take(pa.RecordBatch.from_pydict(rows))
    ((key, entry),) = versions.changes().items()
    assert entry is not None and entry.hex() == VERSIONS
    read = Versions(ZIPS, ("town",)).restored([(key, bytes.fromhex(VERSIONS))])
    assert read.to_pydict() == rows


def test_quality_from_before_windows_were_told_of_in_parts_goes_on() -> None:
    data = bytes.fromhex(
        "85a86465746563746f7286a8626173656c696e65cb3fb999999999999aa870617469656e6365cb4059000000"
        "000000a76261746368657302a86c6f675f73756d7392cb3fe0000000000000cbbff0000000000000a6737461"
        "727473920001a7616c61726d6564c2a777696e646f77738100cdea60a47365656e81a36b6579cdea60a7616c"
        "61726d6564ce0001d4c0a776657273696f6e01"
    )
    assert read_version_quality(data) == msgspec.structs.replace(QUALITY, latest=(-1, 0, 0))


def test_predictions_that_waited_before_evidence_did_have_told_theirs() -> None:
    data = bytes.fromhex(
        "939196dc0014a477696e65a174000705a6666f7265737403a26162a673636f726564cb3fe0000000000000cb"
        "3fd0000000000000aa7b2270223a302e32357da3616e6e81a7636f756e747279a26465a0a0a000a0a06301cb"
        "3ff0000000000000a4747275650891949aa477696e6508cb3ff0000000000000a47472756509a66c6162656c"
        "730002c4027b7d81a7726576656e7565cb400400000000000064c2c301"
    )
    entry = decode_entry(data)
    (waiting,) = entry.predictions
    assert entry.past == [] and waiting.metrics is None and messages.unpack(waiting.packed) == PREDICTED
