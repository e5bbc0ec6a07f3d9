"""In memory and in the database the same rows are chosen, whatever the schema."""

from typing import Any

import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_pipeline_tests.sampling.in_memory.compared import chosen_in_database, chosen_in_memory
from data_pipeline_tests.sampling.made_schemas import RATES, build, made_schemas

ROOTS = st.one_of(
    st.fixed_dictionaries({"rate": RATES}), st.fixed_dictionaries({"rows": st.integers(20, 40)})
)
SPECIFICATIONS = st.fixed_dictionaries(
    {
        "roots": st.fixed_dictionaries({"t0": ROOTS}),
        "salt": st.integers(-5, 5),
        "hubs": st.sampled_from(["auto", "off", 3, 10]),
        "small_table_rows": st.sampled_from([0, 5, 5000]),
        "cover": st.sampled_from(
            ["auto", "off", {"category_limit": 4}, {"category_limit": 0}, {"fan_outs": False}]
        ),
    },
    optional={"size": st.just("minimal")},
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made_schemas(), SPECIFICATIONS)
def test_the_same_rows_are_chosen_with_the_same_facts(
    engine: sa.Engine, made: dict[str, Any], specification: dict[str, Any]
) -> None:
    source = build(engine, made)
    in_memory = chosen_in_memory(source, **specification)
    assert in_memory == chosen_in_database(source, **specification)
