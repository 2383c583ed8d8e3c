"""How good a policy is on benchmarks for multimodal LLMs: measured by external programs, read into our tables."""
