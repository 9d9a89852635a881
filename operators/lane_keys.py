"""Keys of records and models: a data type, or with lanes `LANE/DATA_TYPE`."""

from __future__ import annotations


def key_prefixes(lanes: int) -> list[str]:
    """What stands before a data type in each of its keys; without lanes one key, the data type."""
    return [f"{lane}/" for lane in range(lanes)] or [""]


def lane_and_type(key: str, lanes: int = 1) -> tuple[int, str]:
    """A key taken apart; without lanes (0) the lane is 0, and a data type may hold a slash."""
    if not lanes:
        return 0, key
    lane, data_type = key.split("/", 1)
    return int(lane), data_type
