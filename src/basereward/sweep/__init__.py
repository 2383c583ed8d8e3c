"""Sweeps: one recipe over a grid of settings and seeds, cell by cell, on this machine or on a cluster."""
