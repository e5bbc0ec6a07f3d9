"""What one transaction drops of an instance: a stage, or what belongs to no stage."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from data_pipeline.tables.catalog import CatalogRow
from data_pipeline.tables.names import RelationName


@dataclass(frozen=True)
class OwnRelation:
    """A table or view that an instance has made.

    Attributes:
        name: Its name.
        oid: Its identity in the database.
        kind: `r` or `p` for a table, `v` for a view.
        bytes: Its size on disk with indexes.
        row: What the catalog says of it; None for what is being built, or works for others.
    """

    name: RelationName
    oid: int
    kind: str
    bytes: int
    row: CatalogRow | None


@dataclass(frozen=True)
class OwnSchema:
    """A schema of an instance, with those of its relations that are meant.

    Attributes:
        name: Its name.
        relations: What is meant of it.
        others: What somebody else has put there, in words.
        goes: Whether the schema is empty without these relations.
    """

    name: str
    relations: tuple[OwnRelation, ...]
    others: tuple[str, ...]
    goes: bool

    def staying(self) -> "OwnSchema":
        """Gives the same, for the case that the schema is needed further."""
        return replace(self, goes=False)


@dataclass(frozen=True)
class InventoryItem:
    """What one transaction drops.

    Attributes:
        stage: The stage; None for the catalog and the working tables of sampling.
        schemas: The schemas, with the relations that are meant.
        rows: The rows of the catalog that are meant.
        kept: The same of earlier versions in cache slots.
        files: Files of blobs.
        everything: Whether all of the stage is meant.
    """

    stage: str | None
    schemas: tuple[OwnSchema, ...]
    rows: tuple[CatalogRow, ...]
    kept: tuple[CatalogRow, ...]
    files: tuple[Path, ...]
    everything: bool

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to drop."""
        return not (self.schemas or self.rows or self.kept or self.files)

    @property
    def relations(self) -> Iterator[OwnRelation]:
        """All relations that are meant."""
        for schema in self.schemas:
            yield from schema.relations
