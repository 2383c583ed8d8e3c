"""Held-out sets: rows that share an image, a prompt or a group stay on one side."""
