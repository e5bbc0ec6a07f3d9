"""What all stages of the flights have in common."""

OWNERS = ["team:data"]
