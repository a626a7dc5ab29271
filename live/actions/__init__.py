"""What decisions do: checked, queued, carried out on the rig."""
