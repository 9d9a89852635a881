"""Key groups of instances, as Flink gives them out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.key_groups import KeyGroups


def groups_of(count: int) -> KeyGroups:
    return KeyGroups(tuple(f"k{group}" for group in range(count)))


@st.composite
def jobs(draw: st.DrawFn) -> tuple[int, int]:
    """A maximum parallelism, and a parallelism."""
    count = draw(st.integers(1, 200))
    return count, draw(st.integers(1, count))


@given(job=jobs())
def test_a_key_group_belongs_to_the_instance_that_flink_says(job: tuple[int, int]):
    count, parallelism = job
    groups = groups_of(count)
    # Flink, KeyGroupRangeAssignment: keyGroupId * parallelism / maxParallelism
    for index in range(parallelism):
        own = [group for group in range(count) if group * parallelism // count == index]
        assert list(groups.of_instance(index, parallelism)) == own
        assert groups.keys_of_instance(index, parallelism) == tuple(f"k{group}" for group in own)


@pytest.mark.parametrize(
    ("count", "parallelism", "ranges"),
    [
        (128, 1, [range(128)]),
        (128, 3, [range(43), range(43, 86), range(86, 128)]),
        (4, 4, [range(1), range(1, 2), range(2, 3), range(3, 4)]),
        (1, 1, [range(1)]),
        (5, 2, [range(3), range(3, 5)]),
    ],
)
def test_the_ranges_of_some_jobs(count: int, parallelism: int, ranges: list[range]):
    assert [groups_of(count).of_instance(index, parallelism) for index in range(parallelism)] == ranges


@given(job=jobs())
def test_every_instance_has_some_and_they_are_even(job: tuple[int, int]):
    count, parallelism = job
    groups = groups_of(count)
    sizes = [len(groups.of_instance(index, parallelism)) for index in range(parallelism)]
    assert sum(sizes) == count and min(sizes) >= 1 and max(sizes) - min(sizes) <= 1
