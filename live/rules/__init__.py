"""From objects to decisions: what rules are, when they fire, what holds them back."""
