"""What rules would have done in a recorded run: the same decision code over its object tables."""
