"""The TensorFlow runtimes: frozen graphs and SavedModels, and what graphs may hold.

TensorFlow is imported where a model is loaded, never at import.
"""
