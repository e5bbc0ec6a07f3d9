"""Which steps have something to do, and why."""
