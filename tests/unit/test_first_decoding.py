"""Types are taken in where they are declared: msgspec ends the process where two threads do so at once."""

import subprocess
import sys

_PROGRAM = """
import sys, threading
sys.setswitchinterval(1e-6)
from schemas.plans.plan import Only, Plan, read_plan, write_plan
text = write_plan(Plan(route=Only(("a",))))
at_once = threading.Barrier(8)
def read():
    at_once.wait()
    read_plan(text)
threads = [threading.Thread(target=read) for _ in range(8)]
for one in threads: one.start()
for one in threads: one.join()
"""


def test_many_instances_read_their_first_plan_at_once() -> None:
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-500:]
