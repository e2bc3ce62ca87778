"""Learning from which of several answers somebody preferred, without interaction."""
