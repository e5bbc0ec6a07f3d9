"""What rows and assets cost at scale, with exponents.

`python -m benchmarks.scale 1e6 1e7 3e7` measures rows, `python -m benchmarks.scale assets` assets.

Not part of `make bench`: 30 M rows take some 25 GB of disk and, on two cores, half an hour.
`docs/scale.md` says what the figures mean.
"""

import itertools
import json
import math
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.measure import own_server

PROJECTS = Path(__file__).parent / "projects"
SETTINGS = Path(__file__).parents[1] / "dagster.yaml"
ASSETS = (100, 300, 1000)
CONFIGURATION = """
name: scale
table_store_connections: {embedded: {url: embedded, schema_prefix: "{instance_id}_"}}
blob_store_connections: {file: {base_path: "{$DATA_PIPELINE_HOME}/blobs"}}
technical_setups:
  default:
    table_store: {table_store_connection: embedded}
    blob_store: {blob_store_connection: file}
    cache_validation: {cache_slots: 0}
instances:
  __any__: {technical_setup: default, attrs: {copy_filtered_input: false}}
  full: {instance_id: full}
  midi:
    instance_id: midi
    attrs: {copy_filtered_input: true, copy_source: full, sample: {roots: {events: {rate: 0.01}}}}
"""


def main() -> None:
    """Measure rows, then assets, and print a line for each figure."""
    sizes = [int(float(size)) for size in sys.argv[1:] if size != "assets"]
    with own_server() as folder:
        from data_pipeline.embedded import EmbeddedServer

        os.environ["BENCH_URL"] = (
            EmbeddedServer(folder).start().render_as_string(hide_password=False)
        )
        (folder / "instances.yaml").write_text(CONFIGURATION)
        os.environ["DATA_PIPELINE_CONFIG"] = str(folder / "instances.yaml")
        shutil.copy(SETTINGS, folder)
        for line in _table("rows", {size: _rows(size) for size in sizes}):
            print(line, flush=True)
        if "assets" in sys.argv:
            for line in _table("assets", {count: _assets(count) for count in ASSETS}):
                print(line, flush=True)


def _rows(size: int) -> dict[str, float]:
    """Run full, full again, and midi; return the seconds of each step and of the rest."""
    _drop("raw", "inputs", "clean", "report")
    found = {f"full: {name}": value for name, value in _in_process(size, "full").items()}
    found |= {f"full again: {name}": value for name, value in _in_process(size, "full").items()}
    found |= {f"midi: {name}": value for name, value in _in_process(size, "midi").items()}
    found["bytes of full"] = _bytes()
    print(json.dumps({"rows": size, **found}), file=sys.stderr, flush=True)
    return found


def _in_process(size: int, job: str) -> dict[str, float]:
    command = [sys.executable, "-m", __name__ if __name__ != "__main__" else "benchmarks.scale"]
    environment = {**os.environ, "BENCH_ROWS": str(size), "BENCH_JOB": job}
    before = _cpu_of_server()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-4000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    found["CPU of the server"] = _cpu_of_server() - before
    return found


def _cpu_of_runs() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _cpu_of_server() -> float:
    """Return the seconds that the server has computed, which do not depend on others."""
    import psutil

    from data_pipeline.embedded import EmbeddedServer

    data = EmbeddedServer(Path(os.environ["DATA_PIPELINE_HOME"])).data
    server = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
    spent = 0.0
    for process in (server, *server.children()):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent += times.user + times.system + times.children_user + times.children_system
    return spent


def run() -> None:
    """Run a job of the project in this process and print the seconds of its steps."""
    import dagster as dg

    with dg.DagsterInstance.get() as storage:
        job = dg.build_reconstructable_job(
            __spec__.name, "job_of_project", (os.environ["BENCH_JOB"],)
        )
        started = time.perf_counter()
        result = dg.execute_job(job, storage, raise_on_error=True)
        seconds = time.perf_counter() - started
        begins: dict[str, float] = {}
        steps: dict[str, float] = {}
        for record in storage.get_records_for_run(result.run_id).records:
            event = record.event_log_entry.dagster_event
            if event is None or event.step_key is None:
                continue
            if event.is_step_start:
                begins[event.step_key] = record.event_log_entry.timestamp
            elif event.is_step_success:
                steps[event.step_key] = record.event_log_entry.timestamp - begins[event.step_key]
    rest = seconds - sum(steps.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {**steps, "locks, decisions, commits": rest, "all": seconds, "MB of the process": peak}
    found["CPU of the process"] = time.process_time()
    print(json.dumps(found))


def job_of_project(name: str):
    """Return a job of the project, for Dagster to find."""
    from benchmarks.projects import scale

    return scale.defs.resolve_job_def(name)


def _assets(count: int) -> dict[str, float]:
    """Run so many small tables, side by side: all, none, and one that has changed."""
    _drop(*(f"queries{number}" for number in range(10)), "catalog")
    tables = {"BENCH_TABLES": str(count), "BENCH_STAGES": "10", "BENCH_WIDE": "1"}
    found = {}
    for name, change in (("first run", "1"), ("nothing to do", "1"), ("one changed", "2")):
        started, before = time.perf_counter(), _cpu_of_server() + _cpu_of_runs()
        _execute({**tables, "BENCH_CHANGE": change})
        found[name] = time.perf_counter() - started
        found[f"{name}, CPU"] = _cpu_of_server() + _cpu_of_runs() - before
    print(json.dumps({"assets": count, **found}), file=sys.stderr, flush=True)
    return found


def _execute(variables: Mapping[str, str]) -> None:
    dagster = Path(sys.executable).with_name("dagster")
    command = [dagster, "job", "execute", "-f", str(PROJECTS / "queries.py"), "-j", "full"]
    environment = {**os.environ, **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr[-4000:])


def _bytes() -> float:
    import psycopg2

    with psycopg2.connect(os.environ["BENCH_URL"]) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n "
            "ON n.oid = relnamespace WHERE relkind = 'r' AND nspname LIKE 'full%'"
        )
        return float(cursor.fetchone()[0])


def _drop(*stages: str) -> None:
    import psycopg2

    with psycopg2.connect(os.environ["BENCH_URL"]) as connection, connection.cursor() as cursor:
        for instance in ("full", "midi"):
            for stage in (*stages, "catalog"):
                for schema in (stage, f"{stage}__staging", f"{stage}__slots"):
                    cursor.execute(f'DROP SCHEMA IF EXISTS "{instance}_{schema}" CASCADE')


def _table(what: str, measured: Mapping[int, Mapping[str, float]]) -> Iterator[str]:
    """Return a line for each figure, with the exponent between each two neighbours."""
    sizes = sorted(measured)
    if not sizes:
        return
    yield f"{what:<40}" + "".join(f"{size:>22,}" for size in sizes)
    for name in measured[sizes[0]]:
        line = f"{name:<40}{measured[sizes[0]][name]:>22,.2f}"
        for before, size in itertools.pairwise(sizes):
            earlier, now = measured[before][name], measured[size][name]
            exponent = math.log(now / earlier) / math.log(size / before)
            line += f"{now:>14,.2f} (^{exponent:4.2f})"
        yield line


if __name__ == "__main__":
    if "BENCH_JOB" in os.environ:
        run()
    else:
        main()
