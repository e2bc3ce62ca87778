"""Environments that live in Python: the Gymnasium adapter, both ways."""
