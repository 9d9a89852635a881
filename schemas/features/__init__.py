"""Declarations of sources, references and views, their rules, and columns of features.

Nothing here computes a feature.
"""
