"""Who published: signatures of descriptors in the form of the OpenSSF model signing specification 1.0 (a
sigstore bundle that holds a DSSE envelope over an in-toto statement), made and verified with public keys.

Nothing in here loads a model, or knows Flink.
"""
