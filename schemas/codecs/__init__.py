"""Codecs: records as bytes to columns of inputs and back, one module a format.

A codec never raises for a record: what it cannot read it reports. Nothing here reads a topic or a file.
"""
