"""In memory and in the database the same rows are chosen, whatever the schema."""

from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_pipeline_tests.sampling.in_memory.compared import chosen_in_database, chosen_in_memory
from data_pipeline_tests.sampling.made_schemas import build

ROOTS = st.one_of(
    st.fixed_dictionaries({"rate": st.sampled_from([0.1, 0.3, 0.7, 1.0])}),
    st.fixed_dictionaries({"rows": st.integers(20, 40)}),
)
# With enough rows that samples are no whole tables, and that some parents are hubs.
SCHEMAS = st.integers(2, 4).flatmap(
    lambda count: st.fixed_dictionaries(
        {
            "rows": st.lists(st.sampled_from([60, 60, 60, 1, 0]), min_size=count, max_size=count),
            "references": st.lists(
                st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)),
                min_size=1,
                max_size=5,
            ),
            "keyless": st.booleans(),
            "seed": st.integers(0, 1000),
        }
    )
)
SPECIFICATIONS = st.fixed_dictionaries(
    {
        "root": ROOTS,
        "salt": st.integers(-5, 5),
        "hubs": st.sampled_from([3, 10, "auto", "off"]),
        "small_table_rows": st.sampled_from([0, 5, 5000]),
        "cover": st.sampled_from(
            ["off", {"category_limit": 20}, {"category_limit": 0}, {"columns": {}}]
        ),
        "size": st.sampled_from([None, None, None, "minimal"]),
    }
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SCHEMAS, SPECIFICATIONS)
def test_the_same_rows_are_chosen_with_the_same_facts(
    engine: sa.Engine, made: dict[str, Any], specification: dict[str, Any]
) -> None:
    source = build(engine, made)
    options = {**specification, "roots": {f"t{made['references'][0][1]}": specification["root"]}}
    del options["root"]
    in_memory = chosen_in_memory(source, **options)
    assert in_memory == chosen_in_database(source, **options)
