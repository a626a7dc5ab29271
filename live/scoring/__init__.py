"""Results held against the truth: of label images, tracks, denoised images, decisions."""
