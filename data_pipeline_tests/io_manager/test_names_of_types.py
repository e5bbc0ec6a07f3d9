"""Tables may have names that PostgreSQL gives to types: the array type of `t` is called `_t`."""

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import rows, write


def written(engine: sa.Engine, *names: str) -> list[list[tuple[object, ...]]]:
    for number, name in enumerate(names):
        write(name, pd.DataFrame({"a": [number]}))
    return [rows(engine, f'SELECT a FROM full_s."{name}"') for name in dict.fromkeys(names)]


@pytest.mark.parametrize("names", [("_t", "t"), ("t", "_t"), ("__t", "_t", "t")])
def test_a_table_may_be_called_like_the_array_type_of_another_one(
    pipeline_database: sa.Engine, names: tuple[str, ...]
) -> None:
    once = written(pipeline_database, *names)
    assert once == [[(number,)] for number in range(len(names))]
    again = written(pipeline_database, *names, *names)
    assert again == [[(number + len(names),)] for number in range(len(names))]
