"""Evaluation sets: one module each, from the hub's layout or a local copy to items."""
