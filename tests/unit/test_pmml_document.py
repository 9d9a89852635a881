"""Reading PMML: what is refused, and what is read. No JVM."""

import xml.etree.ElementTree as ET

import pytest

from schemas.errors import LoadError, UnprovenModelError, UnsafeModelError
from tests.pmml_documents import Leaf, document, probabilities, tree
from udfs.models import smoke_test
from udfs.models.runtimes.base import WantedSignature
from udfs.models.runtimes.pmml.document import Document, parse
from udfs.models.runtimes.pmml.inputs import declared_ranges, declared_values, record_inputs

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
        GOOD.replace('dataType="double"', "", 1).encode(),
        GOOD.replace('<MiningField name="x"/>', '<MiningField name="z"/>').encode(),
        b"<?xml version='1.0' encoding='no-such'?>" + GOOD.encode(),
        GOOD.encode() + b"\xff",
    ],
)
def test_what_is_malformed_is_a_load_error(data: bytes) -> None:
    with pytest.raises(LoadError):
        assert parse(data).active  # a field that is not declared shows when the fields are asked for


@pytest.mark.parametrize("version", ["3_0", "3_1", "3_2", "4_0", "4_1", "4_2", "4_3", "4_4"])
def test_every_namespace_from_3_0_to_4_4_is_read(version: str) -> None:
    read_document = read(document(tree(Leaf([("a", 1)])), version=version))
    assert read_document.model.tag == "TreeModel"
    assert [f.name for f in read_document.active] == ["x", "y", "k"]
    assert [(f.name, f.values) for f in read_document.targets] == [("t", ("a", "b", "c"))]
    assert f'xmlns="http://www.dmg.org/PMML-{version}"' in read_document.text()


def test_a_prefixed_namespace_and_none_read_the_same() -> None:
    bare = GOOD.replace(' xmlns="http://www.dmg.org/PMML-4_3"', "")
    prefixed = ET.tostring(ET.fromstring(GOOD), encoding="unicode")
    assert prefixed.startswith("<ns0:PMML")
    assert [e.tag for e in read(bare).root.iter()] == [e.tag for e in read(prefixed).root.iter()]


def test_types_and_outputs_are_read() -> None:
    read_document = read(GOOD)
    assert [(f.data_type, f.optype) for f in read_document.active] == [("double", "continuous")] * 2 + [
        ("string", "categorical")
    ]
    assert [o.get("name") for o in read_document.outputs] == ["pa", "pb", "pc"]


def test_extensions_and_instructions_do_not_reach_the_evaluator() -> None:
    odd = "<?run this?><!-- a note --><Extension name='n'><anything xmlns='urn:x'/></Extension>"
    text = read(GOOD.replace("<Header/>", f"<Header/>{odd}")).text()
    assert "Extension" not in text and "run" not in text and "note" not in text


def test_cells_of_a_table_keep_the_prefix_that_columns_name() -> None:
    table = '<InlineTable xmlns:data="urn:table"><row><data:in>1</data:in></row></InlineTable>'
    text = read(
        GOOD.replace("<Header/>", f"<Header/><TransformationDictionary>{table}</TransformationDictionary>")
    ).text()
    assert "<data:in>1</data:in>" in text and 'xmlns:data="urn:table"' in text


def test_two_models_leave_open_which_is_meant() -> None:
    one = tree(Leaf([("a", 1)]))
    with pytest.raises(UnprovenModelError, match="2 models"):
        read(document(one + one))


def test_a_very_deep_document_is_a_load_error() -> None:
    deep = "<Node><True/>" * 5000 + "</Node>" * 5000
    with pytest.raises(LoadError, match="too deeply"):
        read(document(f'<TreeModel functionName="regression"><MiningSchema/>{deep}</TreeModel>')).text()


def test_declared_values_and_intervals_bound_the_rows_that_are_made_up():
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
    <MiningField name="city"/><MiningField name="rooms"/></MiningSchema></RegressionModel></PMML>"""
    document = parse(text.encode())
    inputs = record_inputs(document, WantedSignature())
    valid, ranges = declared_values(document, inputs), declared_ranges(document, inputs)
    assert valid == {"city": ["Oslo", "Rome"], "rooms": [3, 4]}
    assert ranges == {"age": (18.0, 99.5), "n": (5.0, None)}
    rows = smoke_test.generated(inputs, 200, valid, ranges)
    assert set(rows["city"]) == {"Oslo", "Rome"} and set(rows["rooms"].tolist()) == {3, 4}
    assert 18 <= rows["age"].min() < 30 and 90 < rows["age"].max() <= 99.5
    assert set(rows["n"].tolist()) == {5, 6}
    bad = text.replace('"18"', '"young"').encode()
    with pytest.raises(LoadError, match="'age' has an interval whose margin is no number"):
        parse(bad)
