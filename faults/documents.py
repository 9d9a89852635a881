"""PMML that recurses, expands, reads files, or takes for ever on a value that comes later."""

from __future__ import annotations

from collections.abc import Iterator

from faults.inputs import Hostile, model

_HEAD = '<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/>'
_FIELDS = (
    '<DataDictionary><DataField name="a" optype="continuous" dataType="double"/>'
    '<DataField name="t" optype="categorical" dataType="string"/>'
    '<DataField name="y" optype="continuous" dataType="double"/></DataDictionary>'
)
_SCHEMA = (
    '<MiningSchema><MiningField name="a"/><MiningField name="t"/><MiningField name="y" usageType="target"/>'
    "</MiningSchema>"
)


def hostile() -> Iterator[Hostile]:
    def pmml(name: str, body: str, before: str = "") -> Hostile:
        return model(name, (before + _HEAD + body + "</PMML>").encode(), "PMML")

    node = '<Node score="1"><True/>'
    deep = 6000
    yield pmml("tree of thousands of levels", _tree(node * deep + "</Node>" * deep))
    yield pmml("elements of thousands of levels", "<Extension>" * 20_000 + "</Extension>" * 20_000)
    inner = '<FieldRef field="a"/>'
    yield pmml(
        "expression of thousands of levels",
        _regression('<Apply function="exp">' * deep + inner + "</Apply>" * deep),
    )
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    yield pmml("entities that multiply", _regression(inner), f'<!DOCTYPE PMML [<!ENTITY l0 "ha">{laughs}]>')
    yield pmml(
        "entity of a file", _regression(inner), '<!DOCTYPE PMML [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
    )
    functions = "".join(
        f'<DefineFunction name="f{n}" optype="continuous"><ParameterField name="p"/><Apply function="+">'
        + (f'<Apply function="f{n - 1}"><FieldRef field="p"/></Apply>' if n else '<FieldRef field="p"/>') * 2
        + "</Apply></DefineFunction>"
        for n in range(40)
    )
    yield pmml(
        "functions that multiply",
        _regression('<Apply function="f39"><FieldRef field="a"/></Apply>', functions),
    )
    pattern = '<Constant dataType="string">(a+)+b</Constant>'
    found = f'<Apply function="matches"><FieldRef field="t"/>{pattern}</Apply>'
    number = f'<Apply function="if">{found}<Constant>1</Constant><Constant>0</Constant></Apply>'
    yield pmml("pattern that takes for ever later", _regression(number))
    long = f'<Constant dataType="string">{"b" * 10_000}</Constant>'
    a = '<Constant dataType="string">a</Constant>'
    grown = f'<Apply function="replace"><FieldRef field="t"/>{a}{long}</Apply>'
    yield pmml("text that grows later", _regression(f'<Apply function="stringLength">{grown}</Apply>'))
    yield model("half a document", (_HEAD + _FIELDS).encode(), "PMML")
    yield model("no text", b"\xff\xfe" + b"\x00" * 5000, "PMML")


def _tree(nodes: str) -> str:
    return (
        f'{_FIELDS}<TreeModel functionName="regression" splitCharacteristic="multiSplit">{_SCHEMA}'
        f"{nodes}</TreeModel>"
    )


def _regression(expression: str, functions: str = "") -> str:
    return (
        f'{_FIELDS}<TransformationDictionary>{functions}<DerivedField name="d" optype="continuous" '
        f'dataType="double">{expression}</DerivedField></TransformationDictionary>'
        f'<RegressionModel functionName="regression">{_SCHEMA}<RegressionTable intercept="0">'
        '<NumericPredictor name="d" coefficient="1"/></RegressionTable></RegressionModel>'
    )
