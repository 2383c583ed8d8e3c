"""The reward function as RL frameworks call it: one module a framework, none of which is imported before it is used."""
