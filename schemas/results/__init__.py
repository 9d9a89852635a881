"""Answers, results, decided results and events as they leave jobs. Nothing here scores or decides."""
