"""Tasks of a pipeline: each takes arrays and gives arrays back."""
