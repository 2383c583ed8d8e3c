"""A model behind HTTP: requests of many clients in shared batches, in the forms that RL stacks speak."""
