"""WHAT shall a sample hold? The specification, checked against the schema."""
