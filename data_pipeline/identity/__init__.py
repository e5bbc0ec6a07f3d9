"""WHAT can a computation see? The identity that decides whether its result is reused."""
