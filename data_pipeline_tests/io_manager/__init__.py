"""The IO manager on a real database, through real Dagster runs."""
