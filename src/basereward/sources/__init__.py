"""Training sets: one module each, from the raw records of the hub to canonical pairs."""
