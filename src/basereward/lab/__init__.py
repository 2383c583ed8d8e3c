"""A procedural world and tiny backbones, in which everything can be tried in minutes."""
