"""How good trained adapters are: scores, and the papers' own set-ups as recipes."""
