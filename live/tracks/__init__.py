"""Tracks and family trees of a movie or run: gathered, drawn, written for other programs."""
