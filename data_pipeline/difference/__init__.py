"""WHAT CHANGED? Versions of tables compared inside the database."""
