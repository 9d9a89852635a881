"""Loads on a thread of their own."""

from __future__ import annotations

import threading

import pytest

from schemas.errors import LoadError
from tests.serving_fakes import Loads
from udfs.models.background_loader import BackgroundLoader, load_entry
from udfs.models.descriptor import build
from udfs.models.model_log import LogEntry


def entry(content: bytes, version: int = 1) -> LogEntry:
    return LogEntry("n", version, "", build(data_type="t", name="n", version=version, data=content))


@pytest.fixture
def loads() -> Loads:
    return Loads()


@pytest.fixture
def loader(loads: Loads):
    made = BackgroundLoader(loads)
    yield made
    loads.let_go.set()
    made.close()


def test_nothing_runs_before_the_first_load(loader: BackgroundLoader):
    threads = threading.active_count()
    assert loader.finished() == []
    loader.wait()
    loader.close()
    assert threading.active_count() == threads


def test_each_outcome_comes_once_in_order(loader: BackgroundLoader):
    for version, content in enumerate((b"a", b"bad", b"odd", b"b"), 1):
        loader.submit("t", entry(content, version))
    loader.wait()
    done = loader.finished()
    assert [loaded.entry.version for loaded in done] == [1, 2, 3, 4]
    assert [loaded.model is not None for loaded in done] == [True, False, False, True]
    assert done[0].model.stamp.version == 1 and done[0].data_type == "t"
    assert isinstance(done[2].error, LoadError) and "KeyError" in str(done[2].error)
    assert all(loaded.seconds >= 0 for loaded in done)
    assert loader.finished() == []


def test_the_owner_is_not_held_up(loader: BackgroundLoader, loads: Loads):
    loader.submit("t", entry(b"slow"))
    assert loads.started.wait(30)
    assert loader.finished() == []
    loads.let_go.set()
    loader.wait()
    assert len(loader.finished()) == 1


def test_closing_ends_after_the_load_under_way_and_closes_what_nobody_took(loads: Loads):
    loader = BackgroundLoader(loads)
    loader.submit("t", entry(b"a", 1))
    loader.wait()
    loader.submit("t", entry(b"slow", 2))
    loader.submit("t", entry(b"c", 3))
    assert loads.started.wait(30)
    closing = threading.Thread(target=loader.close)
    closing.start()
    while not loader.closing:
        closing.join(0.001)
    loads.let_go.set()
    closing.join(30)
    assert not closing.is_alive()
    assert loads.calls == [("n", 1), ("n", 2)]
    assert [runtime.closed for runtime in loads.runtimes.values()] == [1, 1]


def test_a_descriptor_that_cannot_be_read_is_a_failed_load(loads: Loads):
    loaded = load_entry(loads, "t", LogEntry("n", 1, "", b"\xff"))
    assert loaded.model is None and loaded.error.step == "descriptor"
    assert loads.calls == []
