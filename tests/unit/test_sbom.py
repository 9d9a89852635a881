"""The bill of materials: all that is locked is in it, and versions that are known to be bad are found."""

from __future__ import annotations

import json
import sys
import tomllib
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

from devservices.process import ROOT


@pytest.fixture(scope="module")
def sbom() -> Any:
    loader = SourceFileLoader("sbom_script", str(ROOT / "scripts" / "sbom"))
    module = module_from_spec(spec_from_loader("sbom_script", loader))  # type: ignore[arg-type]
    sys.modules["sbom_script"] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


def test_each_locked_package_and_jar_is_in_it_once(sbom: Any, tmp_path: Path) -> None:
    target = tmp_path / "sbom.json"
    assert sbom.main([str(target)]) == 0
    bill = json.loads(target.read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    refs = [component["bom-ref"] for component in bill["components"]]
    locked = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line]
    wanted = {line.split(" ")[0].split(";")[0].lower() for line in locked}
    assert {f"{c['name']}=={c['version']}" for c in bill["components"] if "pypi" in c["purl"]} == wanted
    jars = [
        line.split(" ")[0]
        for line in (ROOT / "deploy/connectors.lock").read_text().splitlines()
        if ":" in line
    ]
    assert {":".join(jar.split(":")[:2]) for jar in jars if not jar.startswith("#")} == {
        f"{c['group']}:{c['name']}" for c in bill["components"] if "maven" in c["purl"]
    }
    assert bill["dependencies"][0]["dependsOn"] == refs
    named = {c["name"]: c["licenses"][0]["license"]["name"] for c in bill["components"] if "licenses" in c}
    assert "Apache" in named["apache-flink"] and "BSD" in named["numpy"]


def test_a_version_that_is_known_to_be_bad_is_told(sbom: Any) -> None:
    known = tomllib.loads((ROOT / "deploy/known-vulnerable.toml").read_text())
    bad = [
        sbom.Part("python", "h11", "0.14.0", ()),
        sbom.Part("python", "h11", "0.16.0", ()),
        sbom.Part("maven", "org.apache.logging.log4j:log4j-core", "2.14.1", ()),
        sbom.Part("maven", "org.apache.commons:commons-lang3", "3.12.0", ()),
        sbom.Part("maven", "org.apache.kafka:kafka-clients", "3.9.0.Final", ()),
    ]
    told = list(sbom.vulnerable(bad, known))
    assert [sentence.split(" is locked")[0] for sentence in told] == [
        "h11 0.14.0",
        "org.apache.logging.log4j:log4j-core 2.14.1",
        "org.apache.kafka:kafka-clients 3.9.0.Final",
    ]
    assert "CVE-2025-43859" in told[0]


def test_nothing_bad_is_locked_and_the_list_can_be_read(sbom: Any) -> None:
    assert sbom.main(["--check"]) == 0
    known = tomllib.loads((ROOT / "deploy/known-vulnerable.toml").read_text())
    for entry in [*known["python"], *known["maven"]]:
        assert SpecifierSet(entry["affected"]) and entry["id"].startswith("CVE-") and entry["what"]
