"""Worlds that are seen as pictures."""
