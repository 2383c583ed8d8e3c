"""Routers that are trained: which member ranks the responses to which prompt right, and what that may cost."""
