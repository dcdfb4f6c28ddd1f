"""What this archive knows of every recording: the only place that knows SQLite."""
