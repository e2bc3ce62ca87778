"""Sequences of symbols: text as a world, and a task of memory."""
