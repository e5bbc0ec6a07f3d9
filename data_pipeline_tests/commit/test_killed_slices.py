"""A run of a slice that is killed, at whatever point, leaves the table as it was before."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_pipeline_tests.commit import killed_slices
from data_pipeline_tests.launch.conftest import Databases, Place, place
from data_pipeline_tests.launch.conftest import databases as databases
from data_pipeline_tests.launch.processes import CHECKOUT

RUN = ["-m", "data_pipeline", "run", "-m", "data_pipeline_tests.launch.sliced", "full", "--slices"]
SOLD = "SELECT day::text, sold FROM full_sliced_daily.turnover ORDER BY 1"
SALES = "SELECT count(*) FROM full_sliced_raw.sales"
LEFT = """
SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
WHERE nspname LIKE 'full%staging' AND relkind = 'r'
UNION ALL SELECT name FROM full_catalog.staged
"""


@pytest.fixture(scope="module")
def built(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with databases() as url:
        made = place(url, tmp_path_factory.mktemp("home"))
        python(made, *RUN, "2026-01-01..2026-01-02", factor=1)
        yield made


def python(made: Place, *arguments: str, factor: int) -> int:
    env = {**made.env, "SLICED_FACTOR": str(factor)}
    done = subprocess.run(
        [sys.executable, *arguments], env=env, cwd=CHECKOUT, capture_output=True, check=False
    )
    if arguments[1] == "data_pipeline":
        assert done.returncode == 0, done.stdout + done.stderr
    return done.returncode


LAST = list(killed_slices.POINTS)[-1]  # what the points before it leave, it leaves as well
CASES = [
    pytest.param(number, point, marks=[] if point == LAST else [pytest.mark.soak])
    for number, point in enumerate(killed_slices.POINTS)
]


@pytest.mark.parametrize(("number", "point"), CASES)
def test_a_killed_run_leaves_the_table_and_the_next_one_finishes(
    built: Place, number: int, point: str
) -> None:
    before = built.rows(SOLD), built.rows(SALES)
    program = Path(killed_slices.__file__).stem
    arguments = ("-m", f"data_pipeline_tests.commit.{program}", point)
    assert python(built, *arguments, factor=number + 2) == -9
    assert (built.rows(SOLD), built.rows(SALES)) == before
    python(built, *RUN, "2026-01-01", factor=number + 2)
    assert built.rows(SOLD) == [("2026-01-01", number + 2), ("2026-01-02", 2)]
    assert built.rows(SALES) == [(number + 2 + 2,)]
    assert built.rows(LEFT) == []
