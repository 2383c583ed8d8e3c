"""How benchmarks turn scores into numbers: one module each, with the official grouping and formula as default."""
