"""Publish a model from a program: `python examples/publish_model.py FOLDER`, the folder that a job watches
(`--folder.root ROOT` watches `ROOT/models`).

The model is a line in PMML; `millrace publish` does the same for a file.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from millrace.publishing import ModelStream, publish_model

MODEL = """<?xml version="1.0" encoding="UTF-8"?>
<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4">
 <Header/>
 <DataDictionary>
  <DataField name="area" optype="continuous" dataType="double"/>
  <DataField name="price" optype="continuous" dataType="double"/>
 </DataDictionary>
 <RegressionModel functionName="regression">
  <MiningSchema><MiningField name="area"/><MiningField name="price" usageType="target"/></MiningSchema>
  <RegressionTable intercept="50"><NumericPredictor name="area" coefficient="3"/></RegressionTable>
 </RegressionModel>
</PMML>
"""


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "price.pmml")
        path.write_text(MODEL)
        published = publish_model(
            path, ModelStream(folder=folder), data_type="houses", name="price", description="3 * area + 50"
        )
    stamp = published.checked.stamp
    print(f"{stamp.name} version {published.version} ({stamp.digest[:8]}) is at {published.place}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
