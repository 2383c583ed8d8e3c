"""Curation: which pairs of a set are kept, by recipes of steps; fingerprints, contamination, mixtures."""
