"""The stages of input tables of the project, as its assets define them."""

from typing import TYPE_CHECKING

from data_pipeline.cli import chosen_project

if TYPE_CHECKING:
    from data_pipeline.sampling.report.stored_reports import Inputs


def input_stages() -> dict[str, "Inputs"]:
    """Return the input tables of the project, by stage."""
    from data_pipeline.database.identifiers import StageTable
    from data_pipeline.sampling.copy_filtered_inputs import SOURCE_METADATA_KEY
    from data_pipeline.sampling.report.stored_reports import Inputs
    from data_pipeline.store.table_properties import declared_properties

    found: dict[str, Inputs] = {}
    for spec in chosen_project.asset_specs():
        if SOURCE_METADATA_KEY in spec.metadata:
            table = StageTable.from_path(spec.key.path)
            raw = StageTable.from_path(str(spec.metadata[SOURCE_METADATA_KEY]).split("/"))
            inputs = found.setdefault(table.stage, Inputs(table.stage, {}, {}))
            inputs.raw[table.name] = raw  # type: ignore[index] # it is this function's own
            inputs.declared[table.name] = declared_properties(spec.metadata)  # type: ignore[index]
    return found
