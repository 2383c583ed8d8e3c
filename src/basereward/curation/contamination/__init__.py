"""Contamination: which training pairs share content with items of the benchmarks, and what a checkpoint says of it."""
