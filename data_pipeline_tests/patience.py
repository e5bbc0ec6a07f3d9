"""How long tests wait for what must happen."""

PATIENCE = 480
"""Seconds after which a wait is given up. Machines may be slow: no test expects what takes long."""
