"""HOW from a shell? The command `data-pipeline`, one module a command."""

from data_pipeline.cli.command_line import main as main
