"""Search among policies by what they earn, without a gradient."""
