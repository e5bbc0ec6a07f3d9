"""Whatever a pipeline looks like: runs compute what changed and what follows, once, and no more."""

from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.database.identifiers import StageTable
from data_pipeline.identity.computation import Identity
from data_pipeline.instances.settings.caching_and_kept_versions import Validation
from data_pipeline.memo.deciding.decisions import Action, Computation, Decisions, Key, Known, Step
from data_pipeline.store.catalog import CatalogRow

Graph = list[set[int]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Gives for each asset the earlier ones that it reads."""
    size = draw(st.integers(1, 8))
    return [draw(st.sets(st.integers(0, i - 1))) if i else set() for i in range(size)]


def key(number: int) -> Key:
    return ("full", StageTable("s", f"t{number}"))


def steps(graph: Graph, codes: list[int]) -> list[Step]:
    return [
        Step(
            f"t{i}",
            [Computation(key(i), Identity(str(code)), [key(j) for j in sorted(graph[i])])],
        )
        for i, code in enumerate(codes)
    ]


def run(graph: Graph, codes: list[int], catalog: dict[Key, Known]) -> list[int]:
    """Computes what is to be computed, as the in-process executor does; gives what it was.

    The data of an asset is a function of its code and inputs; code 0 and 1 give the same.
    """
    executed: list[int] = []
    all_steps = steps(graph, codes)
    reused: set[str] = set()
    followed = Decisions(all_steps, Validation())
    while True:
        settled = frozenset({f"t{i}" for i in executed} | reused)
        decisions = Decisions(all_steps, Validation()).update(catalog, settled)
        assert followed.update(catalog, settled) == decisions
        reused |= {name for name, found in decisions.items() if found.action is Action.REUSE}
        ready = [int(name[1:]) for name, d in decisions.items() if d.action is Action.RUN]
        ready = [i for i in ready if all(f"t{j}" in settled | reused for j in graph[i])]
        if not ready:
            assert len(reused) + len(executed) == len(graph)
            return executed
        for i in ready:
            versions = {f"full/{key(j)[1]}": catalog[key(j)].row.data_version for j in graph[i]}
            data = f"{i}:{max(codes[i], 1)}:{sorted(versions.items())}"
            row = CatalogRow(
                "s",
                f"t{i}",
                "table",
                data,
                code_version=str(codes[i]),
                inputs=versions,
                identity={},
            )
            catalog[key(i)] = Known(row, exists=True)
            executed.append(i)


def truth(graph: Graph, codes: list[int]) -> dict[Key, str]:
    catalog: dict[Key, Known] = {}
    run(graph, codes, catalog)
    return {name: found.row.data_version for name, found in catalog.items()}


@given(graphs(), st.data())
def test_changes_are_followed_exactly(graph: Graph, data: st.DataObject) -> None:
    codes = st.lists(st.integers(0, 3), min_size=len(graph), max_size=len(graph))
    before, after = data.draw(codes), data.draw(codes)
    dropped = data.draw(st.sets(st.integers(0, len(graph) - 1)))
    catalog: dict[Key, Known] = {}
    assert sorted(run(graph, before, catalog)) == list(range(len(graph)))
    assert run(graph, before, catalog) == []
    old = {name: found.row.data_version for name, found in catalog.items()}
    for i in dropped:
        catalog[key(i)] = Known(catalog[key(i)].row, exists=False)
    executed = run(graph, after, catalog)
    assert len(executed) == len(set(executed))
    now = {name: found.row.data_version for name, found in catalog.items()}
    assert now == truth(graph, after)
    new_inputs = {i for i in range(len(graph)) if any(now[key(j)] != old[key(j)] for j in graph[i])}
    new_code = {i for i in range(len(graph)) if before[i] != after[i]}
    assert set(executed) == dropped | new_inputs | new_code
