"""Reading the values of options. Stands apart from them, because numpy comes with the schemas."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence

import typer

from schemas.tensors import DType
from udfs.models.runtimes.base import PartialInput

_DTYPE = "|".join(d.value for d in DType)
_INPUT = re.compile(rf"(?P<name>.+?)(:(?P<dtype>{_DTYPE})(\[(?P<shape>[\d, x]*)\])?)?(=(?P<fields>.*))?")


def parse_fields(values: Sequence[str] | None) -> tuple[str, ...]:
    """Field names of repeated options, each of which may have several with commas.

    >>> parse_fields(["a,b", "c"])
    ('a', 'b', 'c')
    """
    return tuple(f.strip() for value in values or () for f in value.split(",") if f.strip())


def parse_inputs(values: Sequence[str] | None) -> tuple[PartialInput, ...]:
    """Inputs as `NAME[:DTYPE[SHAPE]][=FIELD,...]` says.

    >>> parse_inputs(["x:float32[2]=a,b"])
    (PartialInput(name='x', dtype='float32', shape=(2,), fields=('a', 'b'), constant=''),)
    >>> parse_inputs(["x:0"])
    (PartialInput(name='x:0', dtype=None, shape=None, fields=(), constant=''),)
    """
    inputs = []
    for value in values or ():
        found = _INPUT.fullmatch(value)
        if not found:
            raise typer.BadParameter(
                f"{value!r} is not NAME[:DTYPE[SHAPE]][=FIELD,...]", param_hint="--input"
            )
        shape = tuple(int(n) for n in re.findall(r"\d+", found["shape"] or ""))
        fields = parse_fields([found["fields"]] if found["fields"] else None)
        inputs.append(PartialInput(found["name"], found["dtype"], shape or None, fields))
    return tuple(inputs)


def with_constants(inputs: Sequence[PartialInput], values: Sequence[str] | None) -> tuple[PartialInput, ...]:
    """The inputs, and `INPUT=JSON` options as constants; what is no JSON is a text.

    >>> [i.constant for i in with_constants(parse_inputs(["x=a,b"]), ["keep_prob=1.0", "mode=fast"])]
    ['', '1.0', '"fast"']
    """
    found = {i.name for i in inputs}
    constants = []
    for name, text in parse_pairs(values, "--constant").items():
        if name in found:
            raise typer.BadParameter(f"{name!r} is given as an input too", param_hint="--constant")
        constants.append(PartialInput(name, constant=text if _is_json(text) else json.dumps(text)))
    return (*inputs, *constants)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def parse_pairs(values: Sequence[str] | None, option: str) -> dict[str, str]:
    """`KEY=VALUE` options as a dict. Raises a usage error where the `=` is missing."""
    pairs = {}
    for value in values or ():
        key, equals, rest = value.partition("=")
        if not equals or not key:
            # without the text: it may be a password with another sign in the place of =
            raise typer.BadParameter("one of them is not KEY=VALUE", param_hint=option)
        pairs[key.strip()] = rest.strip()
    return pairs


def parse_outputs(values: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    """Outputs as (name, alias); without an alias the last part of the name's path.

    >>> parse_outputs(["dense/Sigmoid=quality", "p"])
    (('dense/Sigmoid', 'quality'), ('p', 'p'))
    """
    pairs = (value.partition("=") for value in values or ())
    return tuple((name, alias or name) for name, _, alias in pairs)


def one_each(metrics: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """Of each metric the value that was given first, for a descriptor, which knows no data sets."""
    found: dict[str, float] = {}
    for (name, _), value in metrics.items():
        found.setdefault(name, value)
    return found


def parse_metrics(values: Sequence[str] | None) -> dict[tuple[str, str], float]:
    """(name, data set it was measured on) -> value.

    >>> parse_metrics(["accuracy=0.6", "accuracy=0.5@holdout"])
    {('accuracy', ''): 0.6, ('accuracy', 'holdout'): 0.5}
    """
    metrics = {}
    for one in values or ():
        for name, said in parse_pairs([one], "--metric").items():
            text, _, dataset = said.partition("@")
            try:
                number = float(text)
            except ValueError:
                number = math.nan
            if not math.isfinite(number):
                raise typer.BadParameter(f"{name}={text} is not a finite number", param_hint="--metric")
            metrics[name, dataset.strip()] = number
    return metrics
