"""Bandits: what pays best, when only what was chosen is seen."""
