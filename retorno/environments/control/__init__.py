"""Classic control: carts, poles, hills, pendulums."""
