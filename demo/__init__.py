"""The demo: models trained on real data, published and replaced while records flow, and a verdict at the end.

Run it by `scripts/demo`.
"""
