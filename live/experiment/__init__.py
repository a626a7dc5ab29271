"""Experiments as people write them: read, checked, explained."""
