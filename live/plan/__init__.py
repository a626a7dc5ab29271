"""What is imaged next: the user's plan, and the blocks that decisions put before it."""
