"""How a response group becomes tensors; the same code in training, scoring and serving."""
