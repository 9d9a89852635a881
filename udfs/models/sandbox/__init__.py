"""Checks models in processes that may die, before they are loaded where records are scored.

A fork server (`fork_server`) imports TensorFlow once. Each check, and each model that is isolated for good,
runs in a process forked from it, with limits (`limits`) and cut off from what it does not need
(`confinement`). Nothing here imports TensorFlow in the caller's process.
"""
