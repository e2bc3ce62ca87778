"""Bandits: single models, and testbeds whose every episode is another one."""
