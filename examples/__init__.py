"""Small programs to copy from: each shows one thing that a user's own code does, with `millrace.*` only.

Nothing here is imported by the product; the tests run every program.
"""
