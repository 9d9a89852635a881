"""Types are taken in where they are declared: msgspec ends the process where two threads do so at once."""

import subprocess
import sys

import pytest

_PLAN = """
from schemas.plans.plan import Only, Plan, read_plan as decode, write_plan
data = write_plan(Plan(route=Only(("a",))))
"""
_STATISTICS = """
from udfs.lifecycle.statistics.table import TableStatistics, read_statistics as decode, write_statistics
table = TableStatistics.counted_in({})
table.add([{"a": 1.5, "b": "x"}])
data = write_statistics(table)
"""
_PROGRAM = """
import sys, threading
sys.setswitchinterval(1e-6)
{made}
at_once = threading.Barrier(8)
def read():
    at_once.wait()
    decode(data)
threads = [threading.Thread(target=read) for _ in range(8)]
for one in threads: one.start()
for one in threads: one.join()
"""


@pytest.mark.parametrize("made", [_PLAN, _STATISTICS], ids=["plan", "statistics"])
def test_many_instances_read_their_first_one_at_once(made: str) -> None:
    program = _PROGRAM.format(made=made)
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-500:]
