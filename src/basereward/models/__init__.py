"""Weights: backbones, tree attention, reward head, checkpoints."""
