"""Denoising in a run: what is reported of it, and training on the rig's own frames."""
