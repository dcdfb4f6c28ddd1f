"""What people and machines see of a run, made from its events."""
