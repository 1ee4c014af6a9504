"""How people run it. Argument tree and printing; no logic."""
