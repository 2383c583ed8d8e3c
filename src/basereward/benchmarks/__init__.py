"""Evaluation sets: one module each, how its files are read and how scores and verdicts become its official number."""
