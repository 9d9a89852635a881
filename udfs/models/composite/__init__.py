"""Graphs of models that are served as one model: their nodes, structure, loading and wiring.

A graph's parts are models like others; nothing here knows a model's file format.
"""
