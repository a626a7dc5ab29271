"""Pictures that show what an analysis saw and how sure it was."""
