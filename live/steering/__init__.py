"""What people tell a run while it goes on."""
