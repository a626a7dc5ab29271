"""Side-by-side measurements: ours and a named alternative, in one run, as ratios."""
