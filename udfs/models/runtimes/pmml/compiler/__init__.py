"""PMML 3.0 to 4.4 compiled to array operations over a micro-batch.

`compile_document` reads an element tree once and gives a `Plan`. Whatever it does not know it refuses by
name (`UnprovenModelError`), so that a model is scored right or not at all. The rules are those of the
standard (https://dmg.org/pmml/v4-4-1/); where it leaves something open, those of the exporting libraries.
"""
