"""Worlds on a map: gridworlds, mazes, lakes, the racetrack, maps drawn in text."""
