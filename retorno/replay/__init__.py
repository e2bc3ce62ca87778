"""Experience to learn from again: rings of rows, sampled as windows that are trajectories."""
