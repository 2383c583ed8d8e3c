"""Losses, recipes and the Trainer that turns preference pairs into a reward model."""
