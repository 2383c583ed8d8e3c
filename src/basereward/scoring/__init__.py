"""Whatever scores a response: local models, baselines, specs."""
