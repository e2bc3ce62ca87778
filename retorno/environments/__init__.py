"""Worlds: textbook models, sampled models, classic control, memory, tokens; and Gymnasium's."""
