"""Scorers made of others: ensembles, routers and calibrated scores, composed in YAML files."""
