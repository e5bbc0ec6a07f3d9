"""The names by which code versions know the code of this package that assets use.

Where the package itself is part of a project (a clone that is edited), its modules count like those
of the project. A name that was given once stays, wherever its code moves: else what was computed
with the same code would be computed again. Only code that results can depend on is listed.
"""

_MODULES = {
    "data_pipeline.database.identifiers": "data_pipeline.tables.names",
    "data_pipeline.database.sql_text": "data_pipeline.tables.sql_text",
    "data_pipeline.results.sql_query": "data_pipeline.tables.sql",
    "data_pipeline.store.table_properties": "data_pipeline.tables.table",
    "data_pipeline.estimates.intervals": "data_pipeline.sampling.estimates.estimate",
    "data_pipeline.estimates.totals_means_ratios": "data_pipeline.sampling.estimates.measures",
    "data_pipeline.estimates.jackknife": "data_pipeline.sampling.estimates.jackknife",
    "data_pipeline.estimates.sql": "data_pipeline.sampling.estimates.in_database",
    "data_pipeline.estimates.frame_sums": "data_pipeline.sampling.estimates.in_memory",
    "data_pipeline.memo.deciding.source_fingerprints": "data_pipeline.caching.sources",
    "data_pipeline.sources.fingerprints": "data_pipeline.caching.sources",
    "data_pipeline.instances.dagster_resource": "data_pipeline.instances.resource",
}
"""What modules were called when their code was named."""

_FROM_OTHERS = {
    "data_pipeline.caching.sources": (
        "data_pipeline.memo.other_io_managers",
        "SHARED_KEY shared_output",
    ),
    "data_pipeline.tables.literals": (
        "data_pipeline.database.identifiers",
        "LITERAL_TYPES _Binary _Date _DateTime _Float _Literal _Time _Uuid _zone",
    ),
    "data_pipeline.tables.sql_names": (
        "data_pipeline.database.sql_text",
        "_IDENTIFIER _QUALIFIED _plain _written renamed",
    ),
    "data_pipeline.tables.results": (
        "data_pipeline.results.sql_query",
        "_RETURN check_supported is_query unwrapped",
    ),
    "data_pipeline.tables.declarations": (
        "data_pipeline.store.table_properties",
        "_type_name column_names listed nullability type_names",
    ),
    "data_pipeline.tables.build": (
        "data_pipeline.store.table_properties",
        "_object_name index_name",
    ),
    "data_pipeline.sampling.estimates.design": (
        "data_pipeline.estimates.intervals",
        "DESIGN Design DesignChoice PROBABILITY PROBLEMS SAMPLE_SIZE UNIT check_columns "
        "check_problem",
    ),
    "data_pipeline.sampling.estimates.student_t": (
        "data_pipeline.estimates.intervals",
        "_near_normal t_quantile",
    ),
    "data_pipeline.sampling.estimates.unit_sums": (
        "data_pipeline.estimates.sql",
        "Float NAN SqlMeasure _design _number _sample_size _with_strata counting_rows keys "
        "relation_name unit_sums",
    ),
}
"""Modules whose code has moved into another one, with that, and what has."""

_NAMES = {
    f"{now}.{name}": f"{before}.{name}"
    for before, (now, names) in _FROM_OTHERS.items()
    for name in names.split()
}


def part_name(module: str, name: str) -> str:
    """Return the name of a definition: of its module and itself, or as it was named before."""
    top = name.partition(".")[0]
    if (before := _NAMES.get(f"{module}.{top}")) is not None:
        return before + name.removeprefix(top)
    return f"{_MODULES.get(module, module)}.{name}"
