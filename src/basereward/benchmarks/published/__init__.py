"""Published numbers as data: the paper's tables and the boards of the benchmarks, one YAML file for each group."""
