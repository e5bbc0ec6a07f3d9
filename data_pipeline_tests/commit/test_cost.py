"""What a commit costs the server: so many statements, however many tables a stage has."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import execute, run, table_asset

LOOKS_FOR_SNAPSHOTS = 2
MOST = LOOKS_FOR_SNAPSHOTS + 11


@pytest.fixture
def sent() -> Iterator[list[str]]:
    """The statements of this process, in their order."""
    found: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        found.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    yield found
    sa.event.remove(sa.Engine, "before_cursor_execute", note)


def of_commit(sent: list[str]) -> list[str]:
    """Gives the statements from the first look for older snapshots to the last look at users."""
    first = next(i for i, text in enumerate(sent) if "OVER () AS built" in text)
    last = max(i for i, text in enumerate(sent) if "FROM pg_default_acl" in text)
    return sent[first : last + 1]


def test_a_commit_takes_as_many_statements_for_ten_tables_as_for_one(
    pipeline_database: sa.Engine, sent: list[str]
) -> None:
    def stage(count: int, value: int) -> list[Any]:
        query = f"SELECT {value} AS a"
        return [table_asset(f"t{n}", lambda: sa.text(query)) for n in range(count)]

    counts = {}
    for count in (1, 10):
        run(*stage(count, 1))
        for number in range(count):
            execute(
                pipeline_database,
                f"CREATE OR REPLACE VIEW v{number} AS SELECT a FROM full_s.t{number}",
                f"GRANT SELECT ON full_s.t{number}, v{number} TO PUBLIC",
            )
        sent.clear()
        run(*stage(count, 2))
        counts[count] = len(of_commit(sent))
    assert counts[1] == counts[10] <= MOST, of_commit(sent)
