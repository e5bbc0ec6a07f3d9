"""What a result comes from, where it is built, and what became of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.identity.computation import UNKNOWN, Identity
from data_pipeline.results.increment_checks import Previous
from data_pipeline.results.query_identity import source_with_settings
from data_pipeline.store import catalog
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.several_tables import member_key
from data_pipeline.store.sliced_tables import SliceBounds
from data_pipeline.store.staging import Look


@dataclass(frozen=True)
class Origin:
    """Where a result comes from.

    Attributes:
        run_id: The Dagster run.
        identity: What it depends on besides its inputs.
        inputs: Data version of each input, by asset; None where it is not known.
        forced: Whether it is written even if it is what is there already.
        given: The data version that the asset's code gave it; None: that of the data.
        part_of: The asset that makes it as one of several tables; None: that of its name.
        previous: What the asset's code was told to be there; None: it did not ask.
        lineage: What went into each input besides data, of a table that grows by increments.
        unchanged: The query key of the committed table, if that has the rows already.
        bounds: Which rows belong to it, of a slice of a table; None: it is a whole one.
    """

    run_id: str
    identity: Identity = UNKNOWN
    inputs: Mapping[str, str | None] = field(default_factory=dict)
    forced: bool = False
    given: str | None = None
    part_of: str | None = None
    previous: Previous | None = None
    lineage: Callable[[], Mapping[str, str]] = dict
    unchanged: str | None = None
    bounds: SliceBounds | None = None

    @property
    def outside(self) -> dict[str, str | None]:
        """What a query can see besides its text and known inputs: source, settings, the unknown.

        Data of an unknown version may be new in every run, and so is what is made of it.
        """
        known = None not in self.inputs.values()
        found = self._of_source(known=known)
        found["source"] = source_with_settings(found["source"], self.identity.settings)
        return found

    @property
    def outside_of_view(self) -> dict[str, str | None]:
        """The same for a view of one relation, whose version is that of what it shows."""
        return self._of_source(known=True)

    def _of_source(self, *, known: bool) -> dict[str, str | None]:
        source = None
        if self.identity.takes_outside_input:
            source = self.identity.source
            known = known and source is not None and not self.forced
        return {"source": source, "run_id": None if known else self.run_id}

    def row(
        self, table: StageTable, kind: catalog.Kind, data_version: str, **facts: Any
    ) -> CatalogRow:
        """Return the catalog row of a result."""
        asset = StageTable(table.stage, self.part_of or table.name)
        key = self.identity.cache_key(str(asset), self.inputs)
        return CatalogRow(
            stage=table.stage,
            name=table.name,
            kind=kind,
            data_version=data_version if self.given is None else self.given,
            part_of=self.part_of,
            cache_key=key if self.part_of is None else member_key(key, table.name),
            code_version=self.identity.code_version,
            code_parts=self.identity.code_parts,
            identity=self.identity.as_json(),
            inputs=self.inputs,
            slice=self.bounds.as_json() if self.bounds else {},
            run_id=self.run_id,
            **facts,
        )


@dataclass(frozen=True)
class Stored:
    """What became of a result: the identity of its data, and metadata for the UI."""

    data_version: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Room:
    """The place of a table in staging, which a step has for itself.

    Attributes:
        table: Stage and name.
        relation: Where it is built.
        session: The session that keeps others away; it commits each statement by itself.
        look: What there was before.
    """

    table: StageTable
    relation: RelationName
    session: sa.Connection
    look: Look
