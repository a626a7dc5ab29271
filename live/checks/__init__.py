"""Finds what is wrong with an experiment before the light goes on."""
