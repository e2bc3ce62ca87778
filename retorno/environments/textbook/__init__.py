"""Models that textbooks and papers made known."""
