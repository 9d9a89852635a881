"""Several models for one record, without Flink: routing, execution, collection, policies and the rules'
language.

Nothing here loads a model by itself or reads a topic.
"""
