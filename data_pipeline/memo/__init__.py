"""WHEN to run? Which steps of a run have something to do."""
