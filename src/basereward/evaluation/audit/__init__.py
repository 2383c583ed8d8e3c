"""An audit of a scorer or a judge: what its answers must depend on, what they must not, what can be put past it."""
