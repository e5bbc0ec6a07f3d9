"""`python -m data_pipeline`: the command `data-pipeline`, where it is not on the PATH."""

from data_pipeline.cli import main

main(prog_name="data-pipeline")
