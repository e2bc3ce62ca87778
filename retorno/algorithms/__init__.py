"""One file per algorithm: a frozen dataclass of hyperparameters with pure methods."""
