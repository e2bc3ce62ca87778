"""Equations: one pure, unbatched function each, with its citation."""
