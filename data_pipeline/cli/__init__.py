"""HOW from a shell? The command `data-pipeline`, one module a command."""
