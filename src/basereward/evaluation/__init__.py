"""How good a scorer is: protocols, runner, result files."""
