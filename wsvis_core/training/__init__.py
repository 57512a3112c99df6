"""What every trainer shares: the loop, checkpoints, schedules, random state."""
