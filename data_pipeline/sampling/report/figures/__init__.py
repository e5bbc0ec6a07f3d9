"""HOW does a sample compare with its source? The figures, inside the database."""
