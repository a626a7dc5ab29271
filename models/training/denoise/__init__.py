"""Denoising: clean and noisy movies to learn from, the network, and training on the rig."""
