"""The PMML runtime: documents, inputs, the evaluator's JVM, and forests that need no JVM.

No JVM is started at import.
"""
