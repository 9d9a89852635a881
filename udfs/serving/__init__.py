"""The state machine that scores: which model is in force, records in, results and dead letters out.

It keeps state in memory and on call; timers and keyed state belong to `operators`.
"""
