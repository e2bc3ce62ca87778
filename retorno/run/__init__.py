"""What happens, in order: collect, train, evaluate, checkpoint, record."""
