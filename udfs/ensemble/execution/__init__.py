"""The executor of candidates: their calls on threads, time limits, and an answer for every request.

Nothing here decides between answers.
"""
