"""Plans whose text, rules or evaluation have no end. A job without candidates has no use for any."""

from __future__ import annotations

import json
from collections.abc import Iterator

from faults.inputs import Hostile, plan


def hostile() -> Iterator[Hostile]:
    def rule(name: str, when: str) -> Hostile:
        route = {"route": "rules", "rules": [{"when": when, "candidates": ["a"]}]}
        return plan(name, json.dumps({"route": route}))

    ten = "[1,2,3,4,5,6,7,8,9,10]"
    nested = "".join(f"{ten}.all(x{n}, " for n in range(8)) + "record.id == 1" + ")" * 8
    yield rule("rule of nested macros", nested)
    for length in (400, 20_000):
        yield rule(f"rule of {length} ors", " || ".join(["record.a == 2"] * length))
    yield rule("rule of sums", "record.a" + "+1" * 5000 + " > 0")
    yield rule("rule of members", "record" + ".a" * 5000 + " == 1")
    yield rule("rule of brackets", "(" * 5000 + "1" + ")" * 5000 + " == 1")
    yield rule("rule of nots", "!" * 2000 + "(record.a == 1)")
    yield rule("rule of choices", "record.a == 1 ? true : " * 2000 + "false")
    yield rule("rule of lists", "[" * 2000 + "]" * 2000 + " == []")
    yield rule("rule of a text that grows", "(" + " + ".join(["string(record)"] * 300) + ").size() > 1")
    yield rule("rule of a pattern", 'string(record.t).matches("(a+)+b")')
    yield rule("rule that is none", "record.a ==")
    yield plan(
        "plan of fallbacks", '{"policy":' + '{"policy":"first","otherwise":' * 3000 + "null" + "}" * 3001
    )
    yield plan("plan that is no text of JSON", "[" * 100_000)
    yield plan("plan without a deadline", '{"deadline_ms": 1e400}')
    yield plan("plan for the year 300,000", '{"deadline_ms": 9223372036854775807}')
