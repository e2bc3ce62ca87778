"""Planning and learning: models that were counted, simulation, decision-time planning."""
