"""An alert as others read it: a CloudEvents envelope (version 1.0, JSON format) around what was found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b

import msgspec

from schemas.errors import StatisticsError
from udfs.lifecycle.drift.anomalies import Anomaly
from udfs.lifecycle.drift.monitor import FeatureDrift

DRIFT = "millrace.drift"
ANOMALY = "millrace.anomaly"
QUALITY = "millrace.quality"


class QualityDrop(msgspec.Struct, frozen=True):
    """A mean loss that has left its baseline. `since`: event time in ms."""

    metric: str
    baseline: float
    observed: float
    log_evidence: float
    since: int


class Alert(msgspec.Struct, frozen=True):
    """What happened to a data type's stream in a window (event time in ms, [start, end))."""

    type: str
    data_type: str
    start: int
    end: int
    model: str = ""
    version: int = 0
    drift: tuple[FeatureDrift, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    quality: tuple[QualityDrop, ...] = ()


class _Envelope(msgspec.Struct):
    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: str
    data: Alert


def drift_alert(data_type: str, start: int, end: int, found: Sequence[FeatureDrift]) -> Alert:
    return Alert(DRIFT, data_type, start, end, drift=tuple(found))


def anomaly_alert(data_type: str, start: int, end: int, found: Sequence[Anomaly]) -> Alert:
    return Alert(ANOMALY, data_type, start, end, anomalies=tuple(found))


def write_alert(alert: Alert, source: str, now: int) -> bytes:
    """JSON; `source` names the job, `now` is in ms. The same alert of the same job has the same id."""
    content = msgspec.json.encode(alert)
    body = _Envelope(
        specversion="1.0",
        id=blake2b(source.encode() + b"\0" + content, digest_size=16).hexdigest(),
        source=source,
        type=alert.type,
        subject=alert.data_type,
        time=datetime.fromtimestamp(now / 1000, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
        datacontenttype="application/json",
        data=alert,
    )
    return msgspec.json.encode(body)


def read_alert(data: bytes) -> Alert:
    """The alert inside. Raises `StatisticsError` for what is no alert of this project."""
    try:
        body = msgspec.json.decode(data, type=_Envelope)
    except msgspec.MsgspecError as e:
        raise StatisticsError(f"this is no alert: {e}") from None
    if body.specversion != "1.0":
        raise StatisticsError(f"CloudEvents {body.specversion} is not read here, only 1.0")
    return body.data


def sentence(alert: Alert) -> str:
    """One line for people: which feature, by how much, since when."""
    said = [
        f"{one.feature} drifts {one.direction or 'in shape'} by at least {one.at_least[one.distance]:.3g} "
        f"({one.distance}) since {_when(one.since)}, {one.share:.0%} of the change"
        for one in alert.drift
    ]
    said += [f"{one.feature}: {one.kind}, {one.records} records: {one.detail}" for one in alert.anomalies]
    said += [
        f"{one.metric} is {one.observed:.4g}, above {one.baseline:.4g} since {_when(one.since)}"
        for one in alert.quality
    ]
    return f"{alert.data_type}: " + "; ".join(said)


def _when(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
