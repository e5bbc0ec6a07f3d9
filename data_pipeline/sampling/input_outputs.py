"""The outputs of `copy_filtered_inputs`: input tables, and the roles and weights of their rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import dagster as dg

from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.code_identity import CODE_VERSION
from data_pipeline.sampling.weights import roles_table, weighted_table
from data_pipeline.tables.copies import SOURCE_METADATA_KEY
from data_pipeline.tables.names import StageTable
from data_pipeline.tables.table import METADATA_KEY


class OutputKind(Enum):
    """What an output holds, in the order in which they are made."""

    ROWS = 1
    ROLES = 2
    WEIGHTED = 3


@dataclass(frozen=True)
class InputOutput:
    """One output.

    Attributes:
        kind: What it holds.
        table: The input table that it is or belongs to.
        out: Its definition.
        depends_on: The assets that it is made from, also such of the same step.
    """

    kind: OutputKind
    table: str
    out: dg.AssetOut
    depends_on: frozenset[dg.AssetKey]


def input_outputs(
    stage: str,
    specs: Mapping[str, dg.AssetSpec],
    owners: Sequence[str] | None,
    *,
    weights: bool,
) -> dict[str, InputOutput]:
    """Gives the outputs by name.

    Args:
        stage: The stage of the input tables.
        specs: The raw table behind each.
        owners: Owners of the input tables.
        weights: Whether roles and weights are asked for.

    Raises:
        ConfigurationError: A name would be taken twice.
    """
    found: dict[str, InputOutput] = {}
    for name, spec in specs.items():
        _add(found, name, _rows(stage, name, spec, owners))
    for name, spec in specs.items() if weights else ():
        table = StageTable(stage, name)
        rows, roles = _asset_key(table), _asset_key(roles_table(table))
        of_roles = _out(roles, owners, f"Role and inclusion probability of the rows of {table}.")
        of_both = _out(
            _asset_key(weighted_table(table)),
            owners,
            f"The rows of {table} with role, probability, unit and weight.",
        )
        output = InputOutput(OutputKind.ROLES, name, of_roles, frozenset({spec.key}))
        _add(found, f"{name}__roles", output)
        output = InputOutput(OutputKind.WEIGHTED, name, of_both, frozenset({rows, roles}))
        _add(found, f"{name}__weighted", output)
    return found


def _rows(stage: str, name: str, spec: dg.AssetSpec, owners: Sequence[str] | None) -> InputOutput:
    key = dg.AssetKey([stage, name])
    metadata = {SOURCE_METADATA_KEY: spec.key.to_user_string(), **_declared(spec.metadata)}
    description = f"The rows of {spec.key.to_user_string()} that the instance works on."
    out = _out(key, owners, description, metadata)
    return InputOutput(OutputKind.ROWS, name, out, frozenset({spec.key}))


def _out(
    key: dg.AssetKey,
    owners: Sequence[str] | None,
    description: str,
    metadata: Mapping[str, Any] | None = None,
) -> dg.AssetOut:
    return dg.AssetOut(
        key=key,
        description=description,
        is_required=False,
        group_name=key.path[0],
        owners=owners,
        kinds={"sql", "postgres"},
        code_version=CODE_VERSION,
        metadata=metadata,
    )


def _asset_key(table: StageTable) -> dg.AssetKey:
    return dg.AssetKey([table.stage, table.name])


def _declared(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    return {METADATA_KEY: metadata[METADATA_KEY]} if METADATA_KEY in metadata else {}


def _add(found: dict[str, InputOutput], name: str, output: InputOutput) -> None:
    taken = {item.out.key for item in found.values()}
    if name in found or output.out.key in taken:
        raise ConfigurationError(
            f"copy_filtered_inputs(weights=True): the name `{name}`, which the roles or weights of "
            f"`{output.table}` need, is that of another raw table. Rename that one."
        )
    found[name] = output
