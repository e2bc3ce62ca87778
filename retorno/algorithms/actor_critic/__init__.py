"""Actors and critics: a policy that climbs what a value says of it."""
