"""Drawn pictures of adherent cells in phase contrast and brightfield, with their truth."""
