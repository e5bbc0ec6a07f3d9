"""Which versions of an instance can be compared, and where their tables are.

`midi` is what is committed, `midi@previous` what was there before the last run, `midi@staged` what
would be there if all that is staged were committed, `midi@<run id>` what a run has made.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

import sqlalchemy as sa

from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.errors import ConfigurationError, TableNotFoundError
from data_pipeline.instances import Configuration, Instance
from data_pipeline.instances.merged_layers import suggestion
from data_pipeline.store import catalog, history, slots, staging
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.changed_by_hand import judge, read_states
from data_pipeline.store.lookup import committed

PREVIOUS, STAGED = "previous", "staged"
_SHORTEST_RUN_ID = 6
_MOST_RUNS = 5


@dataclass(frozen=True)
class VersionName:
    """A version as users write it.

    Attributes:
        instance: The instance.
        which: `previous`, `staged`, or how the id of a run begins; None: what is committed.
    """

    instance: Instance
    which: str | None = None

    def __str__(self) -> str:
        return self.instance.name + (f"@{self.which}" if self.which else "")


def version_name(text: str, configuration: Configuration) -> VersionName:
    """Read the name of a version.

    Raises:
        ConfigurationError: There is no such instance, or nothing stands behind the `@`.
    """
    name, at, which = text.partition("@")
    if at and not which:
        raise ConfigurationError(
            f"`{text}` names no version. Write `{name}` for what is committed, `{name}@previous` "
            f"for what was there before the last run, `{name}@staged`, or `{name}@<run id>`."
        )
    return VersionName(configuration.instance(name), which or None)


@dataclass(frozen=True)
class TableVersion:
    """A table or blob in one version of its instance.

    Attributes:
        instance: Whose table.
        row: What the catalog says, or said, of it; its data version is that of the data there now.
        relation: Its relation; None for a blob, and where its rows are not kept.
        missing: Why its rows are not there; None where they are.
        change: What somebody did to it by hand.
    """

    instance: Instance
    row: CatalogRow
    relation: RelationName | None = None
    missing: str | None = None
    change: str | None = None

    @property
    def table(self) -> StageTable:
        """Stage and name."""
        return self.row.table

    @property
    def shows(self) -> frozenset[str]:
        """What a view reads, as `schema.table`; nothing where that is not known."""
        shown = self.row.relation.get("shows")
        return frozenset(shown.split(",")) if shown else frozenset()

    def is_same_view(self, earlier: "TableVersion") -> bool:
        """Whether this and an earlier version are views with the same query."""
        one, other = (item.row.relation.get("definition") for item in (self, earlier))
        return self.row.kind == earlier.row.kind == "view" and one is not None and one == other


@dataclass(frozen=True)
class Version:
    """All tables and blobs of a version.

    Attributes:
        name: Its name.
        tables: Its tables and blobs.
        is_whole: Whether the instance had no others; a run has made some only.
        notes: What there is to be said of it.
    """

    name: VersionName
    tables: Mapping[StageTable, TableVersion]
    is_whole: bool = True
    notes: tuple[str, ...] = field(default=())


def find_version(connection: sa.Connection, name: VersionName) -> Version:
    """Return the tables of a version.

    Raises:
        TableNotFoundError: There is nothing in it: nothing was built, staged, or kept.
    """
    instance = name.instance
    rows = catalog.rows(connection, instance.catalog_schema)
    if not rows and name.which != STAGED:
        raise TableNotFoundError(
            f"Instance `{instance.name}` has no tables yet. Build it: {instance.build_command}"
        )
    current = _current(connection, instance, rows)
    if name.which is None:
        return Version(name, current)
    if name.which == PREVIOUS:
        return _previous(connection, name, rows, current)
    if name.which == STAGED:
        return _staged(connection, name, current)
    return _of_run(connection, name, current)


def _current(
    connection: sa.Connection, instance: Instance, rows: Mapping[StageTable, CatalogRow]
) -> dict[StageTable, TableVersion]:
    names = {
        table: committed(instance, table)
        for table, row in rows.items()
        if row.is_relation and not row.slice.get("key")  # its table shows it
    }
    states = read_states(connection, names.values())
    items = [(name, rows[table], states[name]) for table, name in names.items()]
    found = {}
    for (name, row, _), verdict in zip(items, judge(connection, items), strict=True):
        missing = None if verdict.is_there else "it has been dropped since it was built"
        relation = name if verdict.is_there else None
        seen = verdict.seen(row)
        found[row.table] = TableVersion(instance, seen, relation, missing, verdict.change)
    blobs = (row for row in rows.values() if row.kind == "blob")
    return found | {row.table: TableVersion(instance, row) for row in blobs}


def _previous(
    connection: sa.Connection,
    name: VersionName,
    rows: Mapping[StageTable, CatalogRow],
    current: Mapping[StageTable, TableVersion],
) -> Version:
    instance = name.instance
    last = history.last_run(connection, instance.catalog_schema, rows)
    if last is None:
        raise TableNotFoundError(
            f"What the last run of instance `{instance.name}` has replaced is not known: an "
            "earlier version of data_pipeline ran it. It is known from the next run on: "
            f"{instance.build_command}"
        )
    kept = {slot.row.cache_key: slot for slot in slots.all_slots(connection, instance)}
    found = dict(current)
    done = history.replacements(connection, instance.catalog_schema)
    for table, item in done.items():
        if item.by != last or table not in rows:
            continue
        found.pop(table, None)
        earlier = item.earlier
        if earlier is None or earlier.kind in catalog.ONLY_ROW:
            continue
        slot = kept.get(earlier.cache_key) if earlier.cache_key else None
        if slot is not None and slot.is_there and slot.row.data_version == earlier.data_version:
            found[table] = _in_slot(instance, slot.row)
        elif table in current and current[table].row.data_version == earlier.data_version:
            found[table] = current[table]
        else:
            found[table] = TableVersion(
                instance, earlier, missing=_not_kept(instance, rows[table], earlier)
            )
    found |= dict(_views_before(instance, found, current))
    return Version(name, found, notes=(f"the last run of `{instance.name}` was {last}",))


def _views_before(
    instance: Instance,
    found: Mapping[StageTable, TableVersion],
    current: Mapping[StageTable, TableVersion],
) -> Iterator[tuple[StageTable, TableVersion]]:
    """Return the views of tables that were others before: they showed these at once."""
    tables = {str(committed(instance, table)): table for table in current}
    for view, item in current.items():
        behind = tables.get(item.row.location or "") if item.row.kind == "view" else None
        before = found.get(behind) if behind is not None else None
        if (
            before is None
            or view not in found
            or before.row.data_version == (item.row.data_version)
        ):
            continue
        row = replace(item.row, data_version=before.row.data_version)
        yield view, TableVersion(instance, row, missing=_not_kept(instance, row, row))


def _in_slot(instance: Instance, row: CatalogRow) -> TableVersion:
    relation = slots.relation_of(instance, row) if row.is_relation else None
    return TableVersion(instance, row, relation)


def _not_kept(instance: Instance, row: CatalogRow, earlier: CatalogRow) -> str:
    """Say why earlier rows are not there."""
    if earlier.kind == "view":
        return "it was a view, which has no rows of its own to keep"
    if instance.cache_validation.cache_slots == 0:
        return "earlier rows are not kept (`cache_validation.cache_slots: 0`)"
    if row.increment.get("number"):
        return "it got an increment, of which the earlier rows are not kept"
    if earlier.cache_key is None:
        return "it was made by what cannot be reused, so its earlier rows were not kept"
    if earlier.cache_key == row.cache_key:
        return "the same computation made it again, so its earlier rows were not kept"
    return "its earlier rows are not kept any more (changed by hand, or dropped since)"


def _staged(
    connection: sa.Connection, name: VersionName, current: Mapping[StageTable, TableVersion]
) -> Version:
    instance = name.instance
    waiting = staging.everything(connection, instance)
    if not waiting:
        raise TableNotFoundError(
            f"Nothing is staged in instance `{instance.name}`: no run has built a table that waits "
            f"for its commit. What is committed is `{instance.name}`."
        )
    found = dict(current)
    for item in waiting:
        row = item.row
        found.pop(row.table, None)
        if row.kind in catalog.ONLY_ROW:
            continue
        relation = staging.relation_to_read(instance, row) if row.is_relation else None
        missing = None if item.is_there else "it is staged no more as it was built"
        found[row.table] = TableVersion(instance, row, relation if item.is_there else None, missing)
    return Version(name, found)


def _of_run(
    connection: sa.Connection, name: VersionName, current: Mapping[StageTable, TableVersion]
) -> Version:
    instance, wanted = name.instance, name.which or ""
    kept = [slot.row for slot in slots.all_slots(connection, instance) if slot.is_there]
    there = [*current.values(), *(_in_slot(instance, row) for row in kept)]
    runs = {item.row.run_id for item in there if (item.row.run_id or "").startswith(wanted)}
    if len(wanted) < _SHORTEST_RUN_ID or len(runs) != 1:
        raise _no_run(name, there, several=len(runs) > 1)
    # The newest comes first.
    found = {item.table: item for item in reversed(there) if item.row.run_id in runs}
    return Version(name, found, is_whole=False)


def _no_run(
    name: VersionName, there: Iterable[TableVersion], *, several: bool
) -> TableNotFoundError:
    made = {
        item.row.run_id: item.row.committed_at
        for item in there
        if item.row.run_id and item.row.committed_at
    }
    newest = sorted(made.items(), key=lambda item: item[1], reverse=True)[:_MOST_RUNS]
    listed = "".join(f"\n  {run_id} ({at:%Y-%m-%d %H:%M})" for run_id, at in newest)
    meant = get_close_matches(name.which or "", ("previous", "staged"), n=1)
    what = (
        f"names no version: did you mean `{name.instance.name}@{meant[0]}`?"
        if meant
        else "names several runs"
        if several
        else "names no run of which a table is still there: at most `cache_slots` earlier versions "
        "of a table are kept"
        if len(name.which or "") >= _SHORTEST_RUN_ID
        else f"is too short for the id of a run: write {_SHORTEST_RUN_ID} characters of it at least"
    )
    return TableNotFoundError(
        f"`{name}` {what}{'' if meant else '.'} Versions are `{name.instance.name}`, "
        f"`{name.instance.name}@previous`, `{name.instance.name}@staged`, and these runs by their "
        f"tables:{listed or ' none'}"
    )


def chosen_tables(
    names: Iterable[str], known: Iterable[StageTable], say: Callable[[str], str] = str
) -> list[StageTable]:
    """Return tables by their names, `table` or `stage/table`; a stage alone names all of its own.

    Raises:
        ConfigurationError: There is none of that name, or several are.
    """
    tables = sorted(known, key=str)
    chosen: list[StageTable] = []
    for name in names:
        found = [table for table in tables if name in (str(table), table.name)]
        of_stage = [table for table in tables if name.rstrip("/") == table.stage]
        if not found and of_stage:
            chosen += of_stage
        elif len(found) == 1:
            chosen += found
        elif found:
            listed = ", ".join(f"`{table}`" for table in found)
            raise ConfigurationError(f"`{name}` is in several stages. Name one of {listed}.")
        else:
            known_names = {str(table) if "/" in name else table.name for table in tables}
            hint = suggestion(name, sorted(known_names))
            raise ConfigurationError(say(f"There is no table `{name}` in either version. {hint}"))
    return list(dict.fromkeys(chosen))
