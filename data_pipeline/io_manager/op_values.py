"""Values that go from op to op, inside a graph asset or in a job of ops: files, or memory.

Like Dagster's own IO manager, each op gets a value of its own, out of a file in the storage of
Dagster; so runs can be re-executed from where they failed. What cannot be pickled goes by memory,
where one process executes both ops.
"""

import pickle
import shutil
from pathlib import Path
from typing import Any

import dagster as dg

from data_pipeline.errors import TableNotFoundError, UnsupportedDataError
from data_pipeline.results.ranges.ranged_rows import RangedRows
from data_pipeline.results.sql_query import is_query
from data_pipeline.runs.dagster_plan import later_steps
from data_pipeline.store.several_tables import Tables
from data_pipeline.store.table_properties import Table, View
from data_pipeline.transfer.frames import is_frame, is_stream

_FOLDER = "op_values"
_OF_TABLES = (Table, Tables, View, RangedRows)
_Address = tuple[str, ...]


class OpValues:
    """The values of the ops that an IO manager serves."""

    def __init__(self) -> None:
        self._in_memory: dict[_Address, Any] = {}

    def put(self, context: dg.OutputContext, value: Any) -> None:
        """Keep what an op has returned for the ops behind it.

        Raises:
            UnsupportedDataError: It cannot be pickled, and an op in another process wants it.
        """
        address = _address(context)
        self._in_memory.pop(address, None)
        path = _path(context.step_context.instance, address)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(path, value)
        except Exception as error:  # pickling runs code of the value's type, which may do anything
            path.unlink(missing_ok=True)
            _check_stays_here(context, value, error)
            self._in_memory[address] = value

    def put_beside(self, context: dg.OutputContext, value: Any) -> None:
        """Keep what is stored as an asset for ops of the same graph, too.

        Queries and streams are not: those ops read the table that is made of them.
        """
        is_made_later = isinstance(value, _OF_TABLES) or is_query(value) or is_stream(value)
        if not is_made_later and later_steps(context.step_context, same_asset=True):
            self.put(context, value)

    def put_asset(self, context: dg.OutputContext, value: Any) -> None:
        """Keep the value of an asset that belongs to no instance, where Dagster would keep it."""
        path = _asset_path(context)
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, value)

    def forget_asset(self, context: dg.OutputContext) -> None:
        """Remove the value of an asset that belongs to no instance, which is a table now."""
        _asset_path(context).unlink(missing_ok=True)

    def has_asset(self, context: dg.InputContext) -> bool:
        """Whether there is a value of an asset that belongs to no instance."""
        try:
            return _asset_path(context).is_file()
        except dg.DagsterInvariantViolationError:  # a notebook that has named no storage
            return False

    def get_asset(self, context: dg.InputContext) -> Any:
        """Return the value of an asset that belongs to no instance."""
        with _asset_path(context).open("rb") as file:
            return pickle.load(file)  # noqa: S301 - a run of this storage wrote it

    def has(self, context: dg.InputContext) -> bool:
        """Whether there is a value for an input."""
        address = _address_of_input(context)
        path = _path(context.step_context.instance, address)
        return address in self._in_memory or path.exists()

    def get(self, context: dg.InputContext) -> Any:
        """Return what an op before has returned.

        Raises:
            TableNotFoundError: It is not here.
        """
        address = _address_of_input(context)
        if _gives_nothing(context):
            return None
        if address in self._in_memory:
            return self._in_memory[address]
        path = _path(context.step_context.instance, address)
        try:
            with path.open("rb") as file:
                return pickle.load(file)  # noqa: S301 - this run, or the one it re-executes, wrote it
        except FileNotFoundError as error:
            raise TableNotFoundError(
                f"The value of output `{address[-1]}` of op `{address[1]}`, run {address[0]}, is "
                f"not here: {path} is gone, or it was written on another machine, or it could not "
                "be pickled and was in memory only. Execute the job again from its beginning."
            ) from error


def forget_op_values(storage: dg.DagsterInstance, run_id: str) -> None:
    """Remove the values of a run whose assets are all there: nobody resumes it."""
    shutil.rmtree(_folder(storage) / run_id, ignore_errors=True)


def is_table_like(value: Any) -> bool:
    """Whether a value becomes a table, which only an instance can have."""
    return isinstance(value, _OF_TABLES) or is_query(value) or is_frame(value)


def _asset_path(context: dg.OutputContext | dg.InputContext) -> Path:
    if isinstance(context, dg.InputContext):
        storage = context.instance
    else:
        storage = context.step_context.instance
    return Path(storage.storage_directory()).joinpath(*context.asset_key.path)


def _write(path: Path, value: Any) -> None:
    beside = path.with_name(f"{path.name}.new")
    try:
        with beside.open("wb") as file:
            pickle.dump(value, file, protocol=pickle.HIGHEST_PROTOCOL)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _check_stays_here(context: dg.OutputContext, value: Any, error: Exception) -> None:
    step = context.step_context
    here = set(step.plan_data.execution_plan.step_keys_to_execute)
    if others := [key for key in later_steps(step) if key not in here]:
        kind = type(value)
        raise UnsupportedDataError(
            f"Output `{context.name}` of op `{context.step_key}` is a "
            f"`{kind.__module__}.{kind.__qualname__}`, which cannot be pickled ({error}), and "
            f"{', '.join(f'`{key}`' for key in others)} in another process wants it. Return what "
            "can be pickled, do both in one op, or run the job with dg.in_process_executor."
        ) from error


def _address_of_input(context: dg.InputContext) -> _Address:
    upstream = context.upstream_output
    if upstream is None:
        raise UnsupportedDataError(
            f"Input `{context.name}` of op `{context.step_context.step.key}` is the output of no "
            "op and no asset, so there is nothing to load. Give it a default value or configure "
            "it, or name the asset that it reads: ins={...: dg.AssetIn(...)}."
        )
    return _address(upstream)


def _gives_nothing(context: dg.InputContext) -> bool:
    """Whether the op before is annotated to return None: then Dagster stores nothing."""
    output = context.upstream_output
    return output is not None and output.dagster_type.is_nothing


def _address(context: dg.OutputContext) -> _Address:
    run_id = context.run_id  # of the run that made it, if this one re-executes a part of it
    mapped = (context.mapping_key,) if context.mapping_key else ()
    return (run_id, context.step_key, *mapped, context.name)


def _path(storage: dg.DagsterInstance, address: _Address) -> Path:
    return _folder(storage).joinpath(*address)


def _folder(storage: dg.DagsterInstance) -> Path:
    return Path(storage.storage_directory()) / _FOLDER
