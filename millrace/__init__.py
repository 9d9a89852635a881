"""The `millrace` command: publish and check models, see which ones serve and how well, watch results."""
