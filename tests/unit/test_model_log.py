"""The version rules of the model log, one by one and against an oracle."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from schemas.errors import StaleVersionError, VersionJumpError
from udfs.models import model_log
from udfs.models.descriptor import build, parse
from udfs.models.model_log import LogEntry, ModelLog


def publish(log: ModelLog, version: int = 0, content: bytes = b"a", name: str = "n", force: bool = False):
    descriptor = build(data_type="t", name=name, version=version, data=content, force=force)
    return log.accept(parse(descriptor), descriptor)


def served(log: ModelLog, *args, **more) -> LogEntry:
    entry = publish(log, *args, **more)
    assert entry is not None
    log.loaded(entry)
    return entry


def test_the_same_twice_is_taken_once_waiting_or_serving():
    log = ModelLog()
    entry = publish(log, 3)
    assert publish(log, 3) is None
    assert publish(log) is None  # an old producer repeats itself without a version
    log.loaded(entry)
    assert publish(log, 3) is None
    assert log.candidates() == [entry]


@pytest.mark.parametrize(("version", "content"), [(2, b"b"), (2, b"a"), (3, b"b")])
def test_older_and_changed_versions_are_refused_unless_forced(version: int, content: bytes):
    log = ModelLog()
    first = served(log, 3)
    with pytest.raises(StaleVersionError, match="higher version, or force it"):
        publish(log, version, content)
    assert log.candidates() == [first]
    forced = publish(log, version, content, force=True)
    assert log.candidates() == [forced, first]
    log.loaded(forced)
    assert log.served == forced and forced.publication().version == version


def test_the_same_content_under_a_higher_version_is_a_new_model():
    log = ModelLog()
    served(log, 3)
    assert publish(log, 4).version == 4


def test_old_producers_get_the_next_version():
    log = ModelLog()
    versions = [served(log, 0, content).version for content in (b"a", b"b", b"a")]
    assert versions == [1, 2, 3]
    served(log, 9, b"c")
    entry = publish(log, 0, b"d")
    assert entry.version == entry.publication().version == 10


def test_a_location_without_digest_counts_as_new_each_time_unless_versioned():
    log = ModelLog()
    bare = build(data_type="t", name="n", location="s3://b/k")
    assert [log.accept(parse(bare), bare).version for _ in range(2)] == [1, 2]
    versioned = build(data_type="t", name="n", location="s3://b/k", version=7)
    assert log.accept(parse(versioned), versioned).version == 7
    assert log.accept(parse(versioned), versioned) is None


def test_names_have_versions_of_their_own():
    log = ModelLog()
    served(log, 5, name="n")
    assert served(log, 1, name="m") == log.served
    with pytest.raises(StaleVersionError):
        publish(log, 4, b"z", name="n")


def test_a_version_beyond_what_can_be_stored_is_refused():
    log = ModelLog()
    served(log, 2**63 - 1)
    for version in (0, 2**64 - 1):
        with pytest.raises(StaleVersionError, match="highest"):
            publish(log, version, b"b")
    assert ModelLog.decode(log.encoded()).served == log.served


@pytest.mark.parametrize("force", [False, True])
def test_a_version_may_be_bounded_so_that_none_shuts_out_all_others(force: bool):
    log = ModelLog()

    def accepted(version: int, name: str = "n") -> LogEntry | None:
        descriptor = build(data_type="t", name=name, version=version, data=b"%d" % version, force=force)
        return log.accept(parse(descriptor), descriptor, 100)

    assert accepted(1_000_000), "the first of its name stands where it likes"
    for version in (1_000_101, 2**63 - 1):
        with pytest.raises(VersionJumpError, match="more than 100 above version 1000000"):
            accepted(version)
    assert accepted(1_000_100) and accepted(1_000_200)
    assert accepted(2**63 - 1, "other")


def test_unpublished_models_may_be_published_again():
    log = ModelLog()
    first = served(log, 2)
    waiting = publish(log, 5, b"b")
    assert log.unpublish("n") == [waiting, first]
    assert log.candidates() == [] and log.unpublish("n") == []
    assert publish(log, 2) is not None


def test_unpublishing_one_name_leaves_the_others_and_no_name_takes_all():
    log = ModelLog()
    n, m = served(log, 1, name="n"), publish(log, 1, name="m")
    assert log.unpublish("m") == [m] and log.candidates() == [n]
    assert log.unpublish("") == [n] and log.candidates() == []


def test_loading_the_newest_makes_the_waiting_older_ones_pointless():
    log = ModelLog()
    one, two, three = (publish(log, v, bytes([v])) for v in (1, 2, 3))
    assert log.newest_pending() == three
    assert log.loaded(two) == [one]
    assert log.candidates() == [three, two]


def test_after_a_failure_the_earlier_counts_and_the_version_is_free_again():
    log = ModelLog()
    one, two = publish(log, 1), publish(log, 2, b"b")
    log.refused(two)
    assert log.newest_pending() == one
    log.loaded(one)
    with pytest.raises(StaleVersionError):
        publish(log, 1, b"c")
    assert publish(log, 2, b"mended").version == 2


def test_a_forced_reload_that_fails_leaves_what_serves():
    log = ModelLog()
    first = served(log, 1, force=True)
    again = publish(log, 1, force=True)
    assert again == first
    log.refused(again)
    assert log.served == first and log.pending == []
    with pytest.raises(StaleVersionError):
        publish(log, 1, b"b")


def test_forgotten_names_do_not_let_an_older_version_of_a_known_one_in(monkeypatch):
    monkeypatch.setattr(model_log, "_NAMES_KEPT", 2)
    log = ModelLog()
    served(log, 5, name="n")
    for k in range(4):
        log.refused(publish(log, 1, name=f"bad{k}"))
    with pytest.raises(StaleVersionError):
        publish(log, 4, b"b", name="n")


def test_nothing_stored_is_an_empty_log():
    assert ModelLog.decode(None).candidates() == ModelLog.decode(b"").candidates() == []


def test_a_failed_step_back_lets_no_older_version_in():
    log = ModelLog()
    served(log, 4)
    served(log, 1, name="other")
    log.refused(publish(log, 2, b"b", force=True))
    with pytest.raises(StaleVersionError):
        publish(log, 3, b"c")


names = st.sampled_from("nm")
versions = st.integers(0, 4)
contents = st.sampled_from([b"a", b"b", b"c"])


class Oracle(RuleBasedStateMachine):
    """The serving version of a name never falls, but by force or after it was withdrawn."""

    def __init__(self) -> None:
        super().__init__()
        self.log = ModelLog()
        self.highest: dict[str, int] = {}  # served since the name was last withdrawn
        self.forced: set[bytes] = set()

    @rule(name=names, version=versions, content=contents, force=st.booleans())
    def publish(self, name: str, version: int, content: bytes, force: bool) -> None:
        before = self.log.candidates()
        try:
            entry = publish(self.log, version, content, name, force)
        except StaleVersionError:
            entry = None
            assert not force
        if entry is None:
            assert self.log.candidates() == before
            assert not force
        else:
            assert self.log.candidates() == [entry, *before]
            assert version in (0, entry.version)
            assert entry.sha256 == hashlib.sha256(content).hexdigest()
            if force:
                self.forced.add(entry.descriptor)

    @rule(which=st.integers(0, 5))
    def load_ends_well(self, which: int) -> None:
        if not self.log.pending:
            return
        entry = self.log.pending[which % len(self.log.pending)]
        newer = self.log.pending[self.log.pending.index(entry) + 1 :]
        self.log.loaded(entry)
        assert self.log.served == entry
        assert self.log.pending == [e for e in newer if e != entry]
        if entry.descriptor not in self.forced:
            assert entry.version >= self.highest.get(entry.name, 0)
        self.highest[entry.name] = max(entry.version, self.highest.get(entry.name, 0))

    @rule(which=st.integers(0, 5))
    def load_fails(self, which: int) -> None:
        if not self.log.pending:
            return
        was, entry = self.log.served, self.log.pending[which % len(self.log.pending)]
        self.log.refused(entry)
        assert self.log.served == was
        assert entry not in self.log.pending

    @rule(name=names | st.just(""))
    def unpublish(self, name: str) -> None:
        before = self.log.candidates()
        gone = self.log.unpublish(name)
        assert gone == [e for e in before if name in ("", e.name)]
        assert self.log.candidates() == [e for e in before if e not in gone]
        for entry in gone:
            self.highest.pop(entry.name, None)

    @rule()
    def restart(self) -> None:
        stored = self.log.encoded()
        before = self.log.candidates()
        self.log = ModelLog.decode(stored)
        assert self.log.candidates() == before
        assert self.log.encoded() == stored

    @invariant()
    def waiting_entries_are_published_in_order(self) -> None:
        """Without force, a name's waiting entries rise, above the one that serves."""
        for name in "nm":
            known = [e for e in reversed(self.log.candidates()) if e.name == name]
            for earlier, later in pairwise(known):
                assert later.version > earlier.version or later.descriptor in self.forced


TestOracle = Oracle.TestCase
TestOracle.settings = settings(max_examples=50, stateful_step_count=30)
