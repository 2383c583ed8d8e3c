"""Checkpoints that only the code in their repository reads, written anew in transformers' own layout."""
