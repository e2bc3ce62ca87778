"""Deep action values."""
