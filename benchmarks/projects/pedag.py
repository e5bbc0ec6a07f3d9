"""The tables of `queries` in pydiverse.pipedag; run by the Python that BENCH_PIPEDAG names."""

import os

import sqlalchemy as sa
from pydiverse.pipedag import Flow, Stage, Table, materialize
from pydiverse.pipedag.core.config import create_basic_pipedag_config

TABLES = int(os.environ.get("BENCH_TABLES", "100"))


@materialize(lazy=True)
def first():
    """The first table of the chain."""
    return Table(sa.select(sa.literal(1).label("x")), name="t0")


def link(number):
    """The task of one table, which reads the one before."""
    added = int(os.environ.get("BENCH_CHANGE", "1")) if number == TABLES // 2 else 1

    @materialize(lazy=True, input_type=sa.Table)
    def table(before):
        return Table(sa.select((before.c.x + added).label("x")), name=f"t{number}")

    return table


if __name__ == "__main__":
    with Flow("chain") as flow, Stage("pedag"):
        before = first()
        for number in range(1, TABLES):
            before = link(number)(before)
    url = os.environ["BENCH_URL"].replace("postgresql://", "postgresql+psycopg2://")
    config = create_basic_pipedag_config(url).get("default")
    if not flow.run(config=config).successful:
        raise SystemExit(1)
