"""What a user edits: one folder a pipeline, one module a stage."""
