"""Record codecs: a block of payloads to the columns a model reads, one module a wire format."""
