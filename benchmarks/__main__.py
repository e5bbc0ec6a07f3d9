"""Runs all benchmarks on an embedded PostgreSQL of their own: `make bench`."""

import os
import platform

from benchmarks.measure import own_server


def main() -> None:
    """Measures and prints."""
    with own_server() as folder:
        from benchmarks import (
            caching,
            commit,
            content,
            difference,
            growth,
            in_place,
            increments,
            memory,
            overhead,
            runs,
            sampling,
            sources,
        )
        from benchmarks.steps import per_step
        from benchmarks.transfer import comparisons
        from data_pipeline.embedded import EmbeddedServer
        from data_pipeline.instances import load_configuration

        print(f"{os.cpu_count()} cores, Python {platform.python_version()}; medians, ours / bare")
        for comparison in comparisons(load_configuration().instance("full")):
            print(comparison, flush=True)
        for gate in memory.gates(load_configuration().instance("full")):
            print(gate, flush=True)
        print(per_step(), flush=True)
        url = EmbeddedServer(folder).start().render_as_string(hide_password=False)
        for comparison in runs.comparisons(folder, url):
            print(comparison, flush=True)
        for gate in overhead.gates(folder, url):
            print(gate, flush=True)
        for comparison in growth.comparisons(folder, url):
            print(comparison, flush=True)
        for comparison in commit.comparisons(load_configuration().instance("full")):
            print(comparison, flush=True)
        for comparison in in_place.comparisons(load_configuration().instance("full")):
            print(comparison, flush=True)
        for comparison in increments.comparisons(load_configuration().instance("full")):
            print(comparison, flush=True)
        for comparison in difference.comparisons(load_configuration().instance("full")):
            print(comparison, flush=True)
        for comparison in content.comparisons(load_configuration().instance("full")):
            print(comparison, flush=True)
        for comparison in caching.comparisons():
            print(comparison, flush=True)
        for found in sources.measured(folder):
            print(found, flush=True)
        for gate in sampling.gates(folder):
            print(gate, flush=True)


if __name__ == "__main__":
    main()
