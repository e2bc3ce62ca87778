"""Prediction: what a given policy is worth."""
