"""Messages of jobs that follow models after they were published: quality, and the evidence of experiments.

Nothing here counts or decides: that belongs to `udfs.lifecycle`.
"""
