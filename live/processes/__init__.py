"""The processes of a run: started, watched, and what they say to each other."""
