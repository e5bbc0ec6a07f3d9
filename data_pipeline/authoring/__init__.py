"""HOW is a pipeline written? Shorthand for assets; plain Dagster ones do just as well."""
