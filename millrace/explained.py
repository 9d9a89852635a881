"""How `millrace explain` shows what it found: tables of at most 80 columns where the values allow it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import typer

from millrace.render import print_table
from millrace.versions import local, short

_SAID = {
    "same": "the same bits",
    "last_bit": "the same but for the last bits",
    "different": "DIFFERENT",
    "not_replayed": "it could not be scored again",
}
_LONGEST = 300


def show(found: Mapping[str, Any]) -> None:
    """One result."""
    result = found["result"]
    model = f"{result['model']} {short(result['version'])} {result['digest']}" if result["model"] else "-"
    record = f"{result['source']}:{result['partition']}:{result['offset']}"
    rows = [
        ("record", record),
        ("its content", _text(found["record"]["value"])),
        ("read from", found["record"]["from"]),
        ("event time", local(result["event_time"])),
        ("model", model),
        ("scores", _text(result["scores"])),
        ("took", f"{result['ms']:.3f} ms"),
    ]
    if result["reason"]:
        rows.append(("reason", result["reason"]))
    if of := result.get("experiments"):
        arms = ", ".join(f"{name}: arm {e['arm']}, step {e['step'] + 1}" for name, e in of.items())
        rows.append(("experiment", arms))
    print_table(("outcome", result["outcome"]), rows, f"Result for {result['data_type']}")
    if found["features"]:
        print_table(
            ("feature", "value", "version", "age", "origin"),
            [
                (f["feature"], _text(f["value"]), f["version"] or "-", _age(f["age_ms"]), _origin(f))
                for f in found["features"]
            ],
            "Features",
        )
    for model_told in found["models"]:
        print_table(("model", model_told["name"]), _model(model_told), "Model")
    if "decision" in found:
        _show_decision(found["decision"])
    _show_again(found["again"])


def show_sample(found: Mapping[str, Any]) -> None:
    """What became of many."""
    print_table(
        ("results scored again", f"{found['results']:,}"),
        [
            *((text, f"{found[name]:,}") for name, text in _SAID.items()),
            *((f"record from {name}", f"{n:,}") for name, n in found["records_from"].items()),
            *([("lines that are no results", f"{found['no_results']:,}")] if found["no_results"] else []),
        ],
    )
    if found["reasons"]:
        print_table(
            ("results", "what", "why"),
            [(r["results"], r["verdict"].replace("_", " "), r["why"]) for r in found["reasons"]],
            "Why",
        )
    for one in found["differences"]:
        typer.echo(f"{one['record']}: {one['why']}")
        for line in _differences(one):
            typer.echo(f"  {line}")


def _model(told: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [("version", short(told["version"])), ("digest", told["digest"])]
    rows += [
        ("served by code", ", ".join(told["served_by_code"]) or "-"),
        ("the code here", told["replayed_by_code"]),
    ]
    if not told["registered"]:
        return [*rows, ("registry", "does not know it")]
    trained = told["training_set"]
    rows += [
        ("type", told["model_type"].lower()),
        ("published", f"{local(told['created'])} by {told['publisher'] or 'somebody unknown'}"),
        ("code version", told["code_version"] or "-"),
        ("training set", trained["path"] or "-" if trained else "-"),
    ]
    if trained:
        rows += [("its digest", trained["digest"] or "-"), ("its views", ", ".join(trained["views"]) or "-")]
    rows += [
        (f"{m['name']}{' on ' + m['dataset'] if m['dataset'] else ''}", f"{m['value']:.6g}")
        for m in told["metrics"]
    ]
    return [*rows, *((f"tag {k}", v) for k, v in sorted(told["tags"].items()))]


def _show_decision(told: Mapping[str, Any]) -> None:
    plan = f"{told['plan']} {short(told['plan_version'])}" if told["plan_version"] else "the default plan"
    rows = [("decided by", told["rule"] or "nothing"), ("deadline", f"{told['deadline_ms']} ms")]
    print_table(("plan", plan), rows, "Decision")
    print_table(
        ("candidate", "version", "outcome", "scores", "after"),
        [
            (
                f"{name} (shadow)" if a["shadow"] else name,
                short(a["version"]) if a["version"] else "-",
                f"{a['outcome']}: {a['reason']}" if a["reason"] else str(a["outcome"]),
                _text(a["scores"]) if a["scores"] else "-",
                "-" if a["waited_ms"] is None else f"{a['waited_ms']:.1f} ms",
            )
            for name, a in told["answers"].items()
        ],
    )


def _show_again(told: Mapping[str, Any]) -> None:
    rows = [("by", _SAID[told["verdict"]]), *([("because", told["why"])] if told["why"] else [])]
    print_table(("scored again", told["verdict"].replace("_", " ")), rows)
    for line in _differences(told):
        typer.echo(f"  {line}")


def _differences(told: Mapping[str, Any]) -> list[str]:
    parts = {**told["answers"], **({"the decision": told["decision"]} if "decision" in told else {})}
    found = []
    for name, one in parts.items():
        for d in one["differences"]:
            steps = "" if d["ulps"] is None else f", {d['ulps']} steps apart"
            found.append(f"{name}, {d['place']}: stored {d['stored']!r}, again {d['again']!r}{steps}")
    return found


def _origin(feature: Mapping[str, Any]) -> str:
    if not feature.get("source"):
        return str(feature["origin"])
    return f"{feature['origin']}, from {' of '.join([*feature['through'], feature['source']])}"


def _age(ms: int | None) -> str:
    if ms is None:
        return "-"
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000)):
        if ms >= size:
            return f"{ms / size:.3g} {unit}"
    return f"{ms} ms"


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
