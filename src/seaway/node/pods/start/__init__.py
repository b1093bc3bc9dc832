"""What the start of a Pod reads."""
