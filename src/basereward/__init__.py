"""Reward models for multimodal LLMs: train them, know how good they are, use them."""

__version__ = "0.1.0"
