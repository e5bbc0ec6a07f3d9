"""Runs all benchmarks on an embedded PostgreSQL of their own: `make bench`."""

import logging
import os
import platform
import tempfile
from pathlib import Path


def main() -> None:
    """Measures and prints."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        os.environ["DATA_PIPELINE_HOME"] = folder
        os.environ["DAGSTER_HOME"] = folder
        os.environ.pop("DATA_PIPELINE_DATABASE_URL", None)
        from benchmarks import caching, commit, sampling
        from benchmarks.steps import per_step
        from benchmarks.transfer import comparisons
        from data_pipeline.instances import load_configuration
        from data_pipeline.tables.embedded import EmbeddedServer

        print(f"{os.cpu_count()} cores, Python {platform.python_version()}; medians, ours / bare")
        try:
            for comparison in comparisons(load_configuration().instance("full")):
                print(comparison, flush=True)
            print(per_step(), flush=True)
            for comparison in commit.comparisons(load_configuration().instance("full")):
                print(comparison, flush=True)
            for comparison in caching.comparisons():
                print(comparison, flush=True)
            for gate in sampling.gates(Path(folder)):
                print(gate, flush=True)
        finally:
            EmbeddedServer(Path(folder)).stop()


if __name__ == "__main__":
    main()
