"""Learning from what others did, without interaction."""
