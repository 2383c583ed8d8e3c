"""An audit of a scorer or a judge: what it should not depend on, what it must depend on, and what can be put past it."""
