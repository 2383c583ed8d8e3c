"""Heads on the features of a frozen backbone: what they can rank, without training the backbone."""
