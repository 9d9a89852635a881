"""What MLflow is told of serving: which of its versions served, and the tags that say when and where."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from millrace.mlflow_models import TAG_PREFIX
from millrace.mlflow_origin import Origin
from millrace.terminal import escaped
from schemas.utc_time import utc_time
from udfs.lifecycle.repository.served import MODEL, Served
from udfs.stores.registry.model_records import RegisteredModel

LONGEST_VALUE = 5000
"""Characters of a tag's value: MLflow takes no more before its 3, and 100,000 since."""
_LONGEST_NAME = 200
"""Characters of a name in it, so that one interval always fits."""
_LONGEST_REST = 60
"""Characters that say what did not fit."""


@dataclass(frozen=True, slots=True)
class ServedVersion:
    """A version of MLflow with the intervals in which it served, under whatever names, the newest first."""

    origin: Origin
    intervals: tuple[Served, ...]

    def tags(self, now: int, silent_ms: int, site: str = "") -> dict[str, str]:
        """`millrace.served`: the intervals; `millrace.serving`: true, false, or unknown.

        With a site they are `millrace.SITE.served` and `millrace.SITE.serving`. `now` (epoch ms): an interval
        without an end is not called serving where nothing was heard of it for more than `silent_ms`, as of a
        job that was killed. Else time changes nothing in them.
        """

        def silent(one: Served) -> bool:
            return one.until is None and now - one.seen > silent_ms

        in_force = {silent(one) for one in self.intervals if one.until is None}
        serving = "false" if not in_force else "true" if False in in_force else "unknown"
        said = (self._said(one, silent(one)) for one in self.intervals)
        prefix = f"{TAG_PREFIX}{site}." if site else TAG_PREFIX
        return {f"{prefix}served": self._bounded(said), f"{prefix}serving": serving}

    def _said(self, one: Served, silent: bool) -> str:
        """As ISO 8601 writes intervals, `..` for an end that has not come; where and as what."""
        until = "?" if silent else ".." if one.until is None else utc_time(one.until)
        same = (one.name, one.version) == (self.origin.name, self.origin.version)
        renamed = "" if same else f" as {_cut(one.name)} {one.version}"
        how = f", heard {utc_time(one.seen)}" if silent else f", {one.ended}" if one.ended else ""
        return f"{utc_time(one.since)}/{until} {_cut(one.job)} ({_cut(one.data_type)}{renamed}){how}"

    def _bounded(self, said: Iterable[str]) -> str:
        """As many as there is room for, the newest first, and how many are left out."""
        kept, room, all_of_them = list[str](), LONGEST_VALUE + len("; "), len(self.intervals)
        for text in said:
            room -= len(text) + len("; ")
            if room < (0 if len(kept) + 1 == all_of_them else _LONGEST_REST):
                break
            kept.append(text)
        if left := all_of_them - len(kept):
            earlier = min(one.since for one in self.intervals[len(kept) :])
            kept.append(f"{left} earlier since {utc_time(earlier)}")
        return "; ".join(kept)


@dataclass(frozen=True, slots=True)
class ServedThere:
    """What a registry knows of one MLflow server.

    `never_served`: versions of it without an interval; `elsewhere`: other servers' URLs, with how many
    versions are theirs; `not_from_mlflow`: models of none.
    """

    versions: list[ServedVersion]
    never_served: int
    elsewhere: Mapping[str, int]
    not_from_mlflow: int


def served_there(
    models: Iterable[RegisteredModel], intervals: Iterable[Served], urls: Collection[str]
) -> ServedThere:
    """Whatever came from the server at `urls`, in the order of names and versions there.

    A version there may serve under several names and data types here: their intervals are one version's.
    """
    of_model: defaultdict[tuple[str, str, int, str], list[Served]] = defaultdict(list)
    for one in intervals:
        if one.kind == MODEL:
            of_model[one.data_type, one.name, one.version, one.digest].append(one)
    there: defaultdict[tuple[str, int, str], list[Served]] = defaultdict(list)
    elsewhere, origins, of_none = set[Origin](), dict[tuple[str, int, str], Origin](), 0
    for model in models:
        origin = Origin.of(model.source)
        if origin is None:
            of_none += 1
        elif not origin.is_at(urls):
            elsewhere.add(origin)
        else:
            # of a name that was deleted and made again, the numbers come again, and the runs do not
            which = origin.name, origin.version, origin.run
            origins.setdefault(which, origin)
            there[which] += of_model[model.key]
    versions = [
        ServedVersion(origins[which], tuple(sorted(found, key=lambda s: (s.since, s.what), reverse=True)))
        for which, found in sorted(there.items())
        if found
    ]
    return ServedThere(
        versions, len(there) - len(versions), dict(Counter(one.url for one in elsewhere)), of_none
    )


def _cut(name: str) -> str:
    name = escaped(" ".join(name.split()))
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."
