"""WHO is at work? One run of one instance: its session, its stages, what its steps read."""
