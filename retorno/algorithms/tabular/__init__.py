"""Control over tables and linear features: SARSA, Q-learning, Monte Carlo."""
