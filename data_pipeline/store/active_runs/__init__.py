"""Which runs are at work, and the leases by which their steps know it."""
