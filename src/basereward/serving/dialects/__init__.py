"""The forms of other stacks: one module each, turned into groups and back."""
