"""A SELECT from tables alone shows where its columns come from as sqlglot says, but sooner."""

import pytest

from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.results.column_lineage import _of_plain, _parsed, _Source, _traced

SOURCES = {
    RelationName("full_s", name): _Source(
        StageTable("s", name), RelationName("full_s__staging", name)
    )
    for name in ("a", "b", "T x")
}

PLAIN = [
    "SELECT full_s.a.x + 1 FROM full_s.a",
    "SELECT K, v + w, count(*) FROM full_s.a GROUP BY 1, 2",
    "SELECT a.k, b.w, a.k + b.k, 1 FROM full_s.a JOIN full_s.b ON a.k = b.k WHERE a.v > 1",
    'SELECT q."K", sum(B.w) OVER (PARTITION BY q.k) FROM full_s."T x" q, full_s.B',
    "SELECT a.k, o.z FROM full_s.a LEFT JOIN public.o ON o.k = a.k",
    "SELECT CASE WHEN k > 1 THEN v END, current_date, k::text, coalesce(v, k) FROM full_s.a AS a",
    "SELECT DISTINCT ON (k) v FROM full_s.a ORDER BY k, w LIMIT 3",
    "SELECT x.k, y.v FROM full_s.a x CROSS JOIN full_s.a y",
    "SELECT max(v) FILTER (WHERE k > 1), array_agg(v ORDER BY k) FROM full_s.a",
    "SELECT full_s.a.k FROM full_s.a, other.a b",
]
OTHERS = [
    "SELECT * FROM full_s.a",
    "SELECT a.* FROM full_s.a",
    "SELECT a FROM full_s.a",
    "SELECT k, w FROM full_s.a, full_s.b",
    "SELECT a.k FROM full_s.a JOIN full_s.b USING (k)",
    "SELECT a.k FROM full_s.a NATURAL JOIN full_s.b",
    "SELECT z FROM full_s.a AS a(z)",
    "SELECT u FROM full_s.a, unnest(ARRAY[1]) u",
    "SELECT k FROM (SELECT k FROM full_s.a) q",
    "SELECT (SELECT max(k) FROM full_s.b) FROM full_s.a",
    "SELECT sum(v) OVER w FROM full_s.a WINDOW w AS (ORDER BY k)",
    "SELECT (a.r).f, other.a.k FROM full_s.a",
    "SELECT k FROM full_s.a UNION SELECT k FROM full_s.b",
    "VALUES (1)",
]


def columns(query: str) -> list[str]:
    selected = getattr(_parsed(query), "selects", [1])
    return [f"c{number}" for number in range(len(selected))]


@pytest.mark.parametrize("query", PLAIN)
def test_it_agrees_with_sqlglot(query: str) -> None:
    found = _of_plain(_parsed(query), columns(query), SOURCES)
    tables = frozenset((relation, source.table) for relation, source in SOURCES.items())
    assert found == _traced(query, tuple(columns(query)), tables, frozenset())
    assert found is not None
    assert any(found.values())


@pytest.mark.parametrize("query", OTHERS)
def test_it_leaves_the_rest_to_sqlglot(query: str) -> None:
    assert _of_plain(_parsed(query), columns(query), SOURCES) is None


def test_a_name_of_a_result_is_no_column_of_it() -> None:
    query = "SELECT v AS k, k AS q FROM full_s.a"
    found = _of_plain(_parsed(query), ["k", "q"], SOURCES)
    table = StageTable("s", "a")
    assert found == {"k": [(table, "v")], "q": [(table, "k")]}
