"""Reading PMML: what is refused, and what is read. No JVM."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from schemas.errors import LoadError, UnprovenModelError, UnsafeModelError
from tests.pmml_documents import Leaf, document, probabilities, tree
from udfs.models.runtimes.base import Artifact, WantedSignature
from udfs.models.runtimes.pmml.compiler.plan import compile_document
from udfs.models.runtimes.pmml.document import Document, parse
from udfs.models.runtimes.pmml.runtime import load

GOOD = document(tree(Leaf([("a", 1)]), output=probabilities()))


def read(text: str) -> Document:
    return parse(text.encode())


@pytest.mark.parametrize(
    "prologue",
    [
        "<!DOCTYPE PMML>",
        '<!DOCTYPE PMML [<!ENTITY e "x">]>',
        '<!DOCTYPE PMML [<!ENTITY e SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE PMML SYSTEM "http://127.0.0.1:1/pmml.dtd">',
        '<!DOCTYPE PMML [<!ENTITY % p SYSTEM "file:///etc/hostname"> %p;]>',
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_doctype_is_refused_in_any_encoding(prologue: str, encoding: str) -> None:
    with pytest.raises(UnsafeModelError, match="DOCTYPE"):
        parse((prologue + GOOD).encode(encoding))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not xml",
        GOOD[:-4].encode(),
        b"<PMML version='4.3'/>",
        b"<html/>",
        GOOD.replace('version="4.3"', 'version="2.0"').encode(),
        GOOD.replace("PMML-4_3", "PMML-9_9").encode(),
        (GOOD.partition("<DataDictionary>")[0] + GOOD.partition("</DataDictionary>")[2]).encode(),
        b"<?xml version='1.0' encoding='no-such'?>" + GOOD.encode(),
        GOOD.encode() + b"\xff",
    ],
)
def test_what_is_malformed_is_a_load_error(data: bytes) -> None:
    with pytest.raises(LoadError):
        parse(data)


@pytest.mark.parametrize("before", ["<!--{}-->", "<?p {}?>"])
def test_what_stands_before_the_root_element_is_bounded(before: str) -> None:
    """More than 1 MB would be read in pieces, and all of it anew with every piece."""
    assert read(before.format("x" * 1000) + GOOD).model.tag == "TreeModel"
    with pytest.raises(LoadError, match="no element begins within the first 1048576 bytes"):
        read(before.format("x" * (1 << 20)) + GOOD)
    with pytest.raises(LoadError, match="no element begins"):
        read(GOOD.replace("<PMML ", f"<PMML a='{'x' * (1 << 20)}' "))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD.replace('dataType="double"', "", 1), "the data type None of the field 'x' is not known"),
        (
            GOOD.replace('<MiningField name="x"/>', '<MiningField name="z"/>'),
            "'z' is not in the data dictionary",
        ),
        (GOOD.replace('<MiningField name="x"/>', '<MiningField name="t"/>'), "'t'"),
        (GOOD.replace("<Output>", '<Output x-odd="1">'), "the attribute 'x-odd' of Output is not known"),
        (GOOD.replace("</Output>", "</Output><Odd/>"), "the element 'Odd' is not known"),
    ],
)
def test_what_is_not_declared_or_not_known_is_refused_by_name(text: str, reason: str) -> None:
    parsed = read(text)
    with pytest.raises(UnprovenModelError, match=reason):
        compile_document(parsed.root, parsed.model)


@pytest.mark.parametrize("version", ["3_0", "3_1", "3_2", "4_0", "4_1", "4_2", "4_3", "4_4"])
def test_every_namespace_from_3_0_to_4_4_is_read(version: str) -> None:
    read_document = read(document(tree(Leaf([("a", 1)])), version=version))
    assert read_document.model.tag == "TreeModel"
    plan = compile_document(read_document.root, read_document.model)
    assert [f.declared.name for f in plan.inputs] == ["x", "y", "k"]
    assert plan.scorer.target == "t" and plan.scorer.categories == ("a", "b", "c")


def test_the_namespace_may_be_of_https() -> None:
    assert read(GOOD.replace("http://www.dmg.org", "https://www.dmg.org")).model.tag == "TreeModel"


def test_a_prefixed_namespace_and_none_read_the_same() -> None:
    bare = GOOD.replace(' xmlns="http://www.dmg.org/PMML-4_3"', "")
    prefixed = ET.tostring(ET.fromstring(GOOD), encoding="unicode")
    assert prefixed.startswith("<ns0:PMML")
    assert [e.tag for e in read(bare).root.iter()] == [e.tag for e in read(prefixed).root.iter()]


def test_types_and_outputs_are_read() -> None:
    parsed = read(GOOD)
    plan = compile_document(parsed.root, parsed.model)
    assert [(f.declared.kind.value, f.declared.optype) for f in plan.inputs] == [
        ("double", "continuous")
    ] * 2 + [("string", "categorical")]
    assert [o.symbol.name for o in plan.outputs] == ["pa", "pb", "pc", "predicted_t"]


def test_extensions_and_instructions_do_not_reach_the_evaluator() -> None:
    odd = "<?run this?><!-- a note --><Extension name='n'><anything xmlns='urn:x'/></Extension>"
    text = read(GOOD.replace("<Header/>", f"<Header/>{odd}")).text()
    assert "Extension" not in text and "run" not in text and "note" not in text


def test_cells_of_a_table_lose_their_prefix_and_so_do_the_columns_that_name_them() -> None:
    table = '<InlineTable xmlns:data="urn:table"><row><data:in>1</data:in></row></InlineTable>'
    table = f'<MapValues outputColumn="data:in">{table}</MapValues>'
    text = read(
        GOOD.replace("<Header/>", f"<Header/><TransformationDictionary>{table}</TransformationDictionary>")
    ).text()
    assert "<in>1</in>" in text and 'outputColumn="in"' in text


def test_elements_of_a_foreign_namespace_are_refused_outside_of_tables() -> None:
    parsed = read(GOOD.replace("</Output>", '</Output><n:odd xmlns:n="urn:odd"/>'))
    with pytest.raises(UnprovenModelError, match="urn:odd"):
        compile_document(parsed.root, parsed.model)


def test_two_models_leave_open_which_is_meant() -> None:
    one = tree(Leaf([("a", 1)]))
    with pytest.raises(UnprovenModelError, match="2 models"):
        read(document(one + one))


def test_a_very_deep_document_is_a_load_error() -> None:
    deep = "<Node><True/>" * 5000 + "</Node>" * 5000
    with pytest.raises(LoadError, match="too deeply"):
        read(document(f'<TreeModel functionName="regression"><MiningSchema/>{deep}</TreeModel>')).text()


def test_declared_values_and_intervals_bound_the_rows_that_are_made_up() -> None:
    text = """<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><DataDictionary>
    <DataField name="age" optype="continuous" dataType="double">
      <Interval closure="closedClosed" leftMargin="18" rightMargin="99.5"/></DataField>
    <DataField name="n" optype="continuous" dataType="integer"><Interval closure="closedOpen" leftMargin="5"/>
    </DataField>
    <DataField name="city" optype="categorical" dataType="string"><Value value="Oslo"/><Value value="Rome"/>
      <Value value="?" property="missing"/></DataField>
    <DataField name="rooms" optype="categorical" dataType="integer"><Value value="3"/><Value value="4"/>
    </DataField></DataDictionary>
    <RegressionModel functionName="regression"><MiningSchema><MiningField name="age"/><MiningField name="n"/>
    <MiningField name="city"/><MiningField name="rooms"/></MiningSchema>
    <RegressionTable intercept="1"><NumericPredictor name="age" coefficient="1"/></RegressionTable>
    </RegressionModel></PMML>"""
    rows = load(Artifact(text.encode(), None, Path()), WantedSignature()).sample(200)
    assert rows is not None
    assert set(rows["city"]) == {"Oslo", "Rome"} and set(rows["rooms"].tolist()) == {3, 4}
    assert 18 <= rows["age"].min() < 30 and 90 < rows["age"].max() <= 99.5
    assert set(rows["n"].tolist()) == {5, 6}
    with pytest.raises(UnprovenModelError, match="leftMargin='young', which is no finite number"):
        load(Artifact(text.replace('"18"', '"young"').encode(), None, Path()), WantedSignature())
