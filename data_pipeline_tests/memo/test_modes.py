"""Which assets are computed after which change, in which mode: the whole matrix.

Every cell is decided for a pipeline that is only described; runs show that they do as decided.
"""

import copy
from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline.database.identifiers import StageTable
from data_pipeline.identity.computation import Identity
from data_pipeline.instances.settings.caching_and_kept_versions import Validation
from data_pipeline.memo.deciding.decisions import Action, Computation, Decisions, Key, Known, Step
from data_pipeline.memo.deciding.fresh_input import refusal
from data_pipeline.store.catalog import CatalogRow
from data_pipeline_tests.io_manager.runs import execute
from data_pipeline_tests.memo.world import FIRST_STATE, World

MODES = (
    "normal",
    "ignore_fresh_input",
    "assert_no_fresh_input",
    "force_fresh_input",
    "force_cache_invalid",
)
EVERYTHING = "t b c query"
REFUSED = "(refused)"

# After a first run, this changes; then these assets are computed, by mode in the order of MODES.
MATRIX = {
    "nothing": ("", "", "", "t", EVERYTHING),
    "code of the raw table": ("t", "t", REFUSED, "t", EVERYTHING),
    "code of b, same result": ("b", "b", "b", "t b", EVERYTHING),
    "code of b, other result": ("b c query", "b c query", "b c query", EVERYTHING, EVERYTHING),
    "code of c": ("c", "c", "c", "t c", EVERYTHING),
    "properties of b": ("b", "b", "b", "t b", EVERYTHING),
    "b was dropped": ("b", "b", "b", "t b", EVERYTHING),
    "raw was dropped": ("t", "t", REFUSED, "t", EVERYTHING),
    "the source's data": (EVERYTHING, "", "", EVERYTHING, EVERYTHING),
}
OF_RAW = ("nothing", "code of the raw table", "the source's data")
"""The changes on which the modes differ most."""


def change(state: dict[str, Any], what: str) -> None:
    """Changes the pipeline as a row of the matrix says, but for tables that were dropped."""
    versions = state["versions"]
    if what == "the source's data":
        state["source"] = 5
    elif what == "code of the raw table":
        versions["t"] = "changed"
    elif what.startswith("code of b"):
        versions["b"] = what
        state["factor"] = 3 if what.endswith("other result") else 2
    elif what == "code of c":
        versions["c"] = "changed"
    elif what == "properties of b":
        state["properties"] = {"indexes": ["v"]}


class Described:
    """The pipeline of `World`, with what the catalog would know of it."""

    raw, view, b, c, query = (
        ("full", StageTable(*name.split("/")))
        for name in ("raw/t", "stage_1/t", "stage_1/b", "stage_2/c", "stage_2/query")
    )

    def __init__(self) -> None:
        self.state = copy.deepcopy(FIRST_STATE)
        self.catalog: dict[Key, Known] = {}

    def steps(self) -> list[Step]:
        versions, source = self.state["versions"], str(self.state["source"])
        properties = str(self.state["properties"])
        raw = Identity(versions["t"], takes_outside_input=True, source=source)
        computations = [
            Computation(self.raw, raw),
            Computation(self.view, Identity("1"), [self.raw]),
            Computation(self.b, Identity(versions["b"], declared=properties), [self.view]),
            Computation(self.c, Identity(versions["c"]), [self.b]),
            Computation(self.query, Identity(versions["query"]), [self.b]),
        ]
        return [Step(str(item.key[1]), [item]) for item in computations]

    def compute(self, item: Computation) -> None:
        """Lets the catalog know a result; all data are a function of source and factor."""
        source, factor = self.state["source"], self.state["factor"]
        data = source if item.key in (self.raw, self.view) else source * factor
        inputs = {
            f"{owner}/{table}": self.catalog[owner, table].row.data_version
            for owner, table in item.inputs
        }
        row = CatalogRow(
            item.key[1].stage,
            item.key[1].name,
            "table",
            str(data),
            code_version=item.identity.code_version,
            identity=item.identity.as_json(),
            inputs=inputs,
        )
        self.catalog[item.key] = Known(row, exists=True)

    def run(self, mode: Any) -> str:
        """Says what a run computes, one step after the other."""
        validation, steps = Validation(mode), {step.key: step for step in self.steps()}
        decisions = Decisions(steps.values(), validation).update(self.catalog, ())
        if refusal("full", decisions, steps.values(), self.catalog, validation):
            return REFUSED
        done: list[str] = []
        while True:
            decisions = Decisions(steps.values(), validation).update(self.catalog, done)
            due = [key for key, found in decisions.items() if found.action is not Action.REUSE]
            if not due:
                return " ".join(key.split("/")[1] for key in done if key != "stage_1/t")
            assert decisions[due[0]].action is Action.RUN
            self.compute(*steps[due[0]].computations)
            done.append(due[0])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", MATRIX)
def test_matrix(what: str, mode: str) -> None:
    pipeline = Described()
    assert pipeline.run("normal") == EVERYTHING
    change(pipeline.state, what)
    if what.endswith("was dropped"):
        key = pipeline.b if what.startswith("b") else pipeline.raw
        pipeline.catalog[key] = Known(pipeline.catalog[key].row, exists=False)
    assert pipeline.run(mode) == MATRIX[what][MODES.index(mode)]


@pytest.mark.parametrize("mode", MODES)
def test_runs_compute_what_is_decided(
    world: World, pipeline_database: sa.Engine, mode: str
) -> None:
    assert world.run().success
    for what in MATRIX if mode == "normal" else OF_RAW:
        change(world.state, what)
        if what.endswith("was dropped"):
            table = "full_stage_1.b" if what.startswith("b") else "full_raw.t CASCADE"
            execute(pipeline_database, f"DROP TABLE {table}")
        expected = MATRIX[what][MODES.index(mode)]
        run = world.run(tags={"dagster/partition": "full", "data_pipeline/cache_validation": mode})
        assert run.success == (expected != REFUSED), what
        computed = "" if expected == REFUSED else expected
        assert dict(world.calls) == dict.fromkeys(computed.split(), 1), what
        if expected == REFUSED:
            assert world.run().success
