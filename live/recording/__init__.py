"""What a run keeps: raw frames, results, journal; whole after any crash."""
