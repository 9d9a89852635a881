"""What was published and who served it when: descriptors, events and statistics as the registry keeps them.

Nothing here judges a model; `quality` and `experiments` do.
"""
