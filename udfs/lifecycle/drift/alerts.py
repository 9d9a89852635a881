"""An alert as others read it: a CloudEvents envelope (version 1.0, JSON format) around what was found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import blake2b
from urllib.parse import quote

import msgspec

from schemas.errors import StatisticsError
from schemas.utc_time import utc_time
from udfs.lifecycle.drift.anomalies import Anomaly
from udfs.lifecycle.drift.monitor import FeatureDrift

DRIFT = "millrace.drift"
ANOMALY = "millrace.anomaly"
QUALITY = "millrace.quality"
OUTLIER = "millrace.outlier"


class QualityDrop(msgspec.Struct, frozen=True):
    """A mean loss that has left its baseline. `since`: event time in ms."""

    metric: str
    baseline: float
    observed: float
    log_evidence: float
    since: int


class Outlier(msgspec.Struct, frozen=True):
    """One record that breaks a declared rule. `value`: what it has in `feature`, as text."""

    rule: str
    feature: str
    value: str
    source: str
    partition: int
    offset: int


class Alert(msgspec.Struct, frozen=True):
    """What happened to a data type's stream in a window (event time in ms, [start, end)).

    `model` and `version` are those of the results that were watched, empty and 0 of records. `about`: what
    this alert is the first to say, as names of features, of kinds and features, or of records; what it says
    beyond that was said before and still holds.
    """

    type: str
    data_type: str
    start: int
    end: int
    model: str = ""
    version: int = 0
    drift: tuple[FeatureDrift, ...] = ()
    anomalies: tuple[Anomaly, ...] = ()
    quality: tuple[QualityDrop, ...] = ()
    outliers: tuple[Outlier, ...] = ()
    about: tuple[str, ...] = ()


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
    names = tuple(f"drift/{one.feature}" for one in found)
    return Alert(DRIFT, data_type, start, end, drift=tuple(found), about=names)


def anomaly_alert(data_type: str, start: int, end: int, found: Sequence[Anomaly]) -> Alert:
    names = tuple(f"{one.kind}/{one.feature}" for one in found)
    return Alert(ANOMALY, data_type, start, end, anomalies=tuple(found), about=names)


def write_alert(alert: Alert, source: str, now: int) -> bytes:
    """JSON; `source` names the job, `now` is in ms. What says the same of the same window has the same id,
    also where a job that was restarted counted a little more of it before it said so."""
    which = (
        source,
        alert.type,
        alert.data_type,
        alert.model,
        alert.version,
        alert.start,
        sorted(alert.about),
    )
    body = _Envelope(
        specversion="1.0",
        id=blake2b(msgspec.json.encode(which), digest_size=16).hexdigest(),
        source=quote(source) or "millrace",
        type=alert.type,
        subject=alert.data_type,
        time=datetime.fromtimestamp(now / 1000, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z"),
        datacontenttype="application/json",
        data=alert,
    )
    return msgspec.json.encode(body)


class ReadAlert(msgspec.Struct, frozen=True):
    """An alert as it came. `time`: when it was written, as ISO 8601."""

    id: str
    source: str
    time: str
    alert: Alert


def read_alert(data: bytes) -> Alert:
    """The alert inside. Raises `StatisticsError` for what is no alert of this project."""
    return read_envelope(data).alert


def read_envelope(data: bytes) -> ReadAlert:
    """The alert with its id. Raises `StatisticsError` for what is no alert of this project."""
    try:
        body = _ENVELOPE_DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise StatisticsError(f"this is no alert: {e}") from None
    if body.specversion != "1.0":
        raise StatisticsError(f"CloudEvents {body.specversion} is not read here, only 1.0")
    return ReadAlert(body.id, body.source, body.time, body.data)


def sentence(alert: Alert) -> str:
    """One line for people: which feature, by how much, since when."""
    said = [
        f"{one.feature} drifts {one.direction or 'in shape'} by at least "
        f"{one.at_least.get(one.distance, 0.0):.3g} ({one.distance}) since {utc_time(one.since)}, "
        f"{one.share:.0%} of the change"
        for one in alert.drift
    ]
    said += [f"{one.feature}: {one.kind}, {one.records} records: {one.detail}" for one in alert.anomalies]
    said += [
        f"{one.metric} is {one.observed:.4g}, above {one.baseline:.4g} since {utc_time(one.since)}"
        for one in alert.quality
    ]
    said += [
        f"{one.feature} is {one.value} in {one.source} {one.partition}/{one.offset}" for one in alert.outliers
    ]
    return f"{alert.data_type}: " + "; ".join(said)


# Made here: msgspec lets another thread use a type that is still being taken in, which ends the process.
_ENVELOPE_DECODER = msgspec.json.Decoder(_Envelope)
