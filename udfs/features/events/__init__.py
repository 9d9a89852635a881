"""Raw records as events of sources, references and views, with their progress in event time.

Nothing here computes a feature.
"""
