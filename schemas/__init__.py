"""Wire formats and their in-memory shapes: descriptors, records, codecs, errors. Imports nothing of ours."""
