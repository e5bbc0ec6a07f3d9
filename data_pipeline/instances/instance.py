"""One instance: its schemas, its stores, its attrs, and what it copies."""

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_pipeline.instances import project
from data_pipeline.instances.settings.caching_and_kept_versions import CacheValidation
from data_pipeline.instances.settings.copy_filters import CopyAttrs
from data_pipeline.instances.settings.sample import SampleSettings
from data_pipeline.instances.settings.stores_and_commits import BlobStore, TableStore

_BETWEEN_DIMENSIONS = "|"  # as Dagster writes keys of two dimensions

STAGING_SUFFIX = "__staging"
SLOTS_SUFFIX = "__slots"
WORK_SUFFIX = "__work"
SAMPLE_STAGE = "sample"
"""The stage of the tables with roles and weights of sampled rows."""


@dataclass(frozen=True)
class CopyFilter:
    """Which part of a source table a copying instance takes; both `None`: every row.

    Attributes:
        cnt: At most so many rows (at least 1).
        rate: This fraction of the rows (above 0, up to 1).
    """

    cnt: int | None = None
    rate: float | None = None

    @property
    def keeps_all_rows(self) -> bool:
        """Whether nothing is filtered out, whatever the table holds."""
        return self.cnt is None and (self.rate is None or self.rate >= 1)


@dataclass(frozen=True, repr=False)
class Instance:
    """One isolated copy of the pipeline at one data size.

    Attributes:
        name: Its partition key, and the name of its job.
        instance_id: How its schemas and directories begin; has the user's name in it when the
            instance is per-user.
        home: Directory of the embedded server and of local storage (`DATA_PIPELINE_HOME`).
        table_store: Where and how its tables are written.
        blob_store: Where blobs are written.
        cache_validation: When results are reused.
        source: The instance that it copies its input tables from; `None` when it loads for itself.
            It may be one that this configuration does not run, such as the shared `full` of a
            per-user `midi`.
        environment: The variables of the shell in which a command means it, also where it is such
            a one: `DATA_PIPELINE_PER_USER=0 ` or nothing.
        sliced_by: The partition key of a run that computes slices of tables, which names the slice
            beside the instance; None: a run of whole tables. It is the same instance.
    """

    name: str
    instance_id: str
    home: Path
    table_store: TableStore
    blob_store: BlobStore
    cache_validation: CacheValidation
    source: "Instance | None"
    environment: str
    _copying: CopyAttrs = field(hash=False)
    _attrs: Mapping[str, Any] = field(hash=False)
    sliced_by: str | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        copied = f", copies {self.source.instance_id!r}" if self.source else ""
        return f"<Instance {self.name!r}, id {self.instance_id!r}, {self.table_store.url}{copied}>"

    @property
    def attrs(self) -> dict[str, Any]:
        """The free dictionary of the configuration, a fresh deep copy each time."""
        return copy.deepcopy(dict(self._attrs))

    @property
    def build_command(self) -> str:
        """The shell command that builds it."""
        if self.slice is not None:
            return f"{self.environment}{project.command('run', self.name, '--slices', self.slice)}"
        return f"{self.environment}{project.build_command(self.name)}"

    @property
    def slice(self) -> str | None:
        """The key of the slices that the run computes, such as its day; None: whole tables."""
        if self.sliced_by is None:
            return None
        return next(part for part in key_parts(self.sliced_by) if part != self.name)

    @property
    def partition_key(self) -> str:
        """The partition key of the run: the instance's name, and the slice where it has one."""
        return self.sliced_by or self.name

    @property
    def sample(self) -> SampleSettings | None:
        """Which rows it copies; None where copy filters say so, or where it loads for itself."""
        return self._copying.sample if self.copies else None

    @property
    def copies(self) -> bool:
        """Whether its input tables are copies of another instance's, whole or in part."""
        return self.source is not None

    @property
    def copies_over(self) -> int:
        """The number of instances that its rows come over; 0 where it loads for itself."""
        return 1 + self.source.copies_over if self.source else 0

    @property
    def root_source(self) -> "Instance":
        """The instance at the end of the chain of sources, which loads for itself.

        For an instance that loads for itself, that is this instance.
        """
        return self.source.root_source if self.source else self

    @property
    def catalog_schema(self) -> str:
        """Name of the schema with what the database knows about the tables of this instance."""
        return f"{self.instance_id}_catalog"

    @property
    def sample_schema(self) -> str:
        """Name of the schema with what sampling says of its rows: roles and probabilities."""
        return f"{self.instance_id}_{SAMPLE_STAGE}"

    @property
    def sample_work_schema(self) -> str:
        """Name of the schema with the working tables of sampling, which last for a step."""
        return f"{self.sample_schema}{WORK_SUFFIX}"

    def schema(self, stage: str) -> str:
        """Return the name of the schema that readers of a stage see."""
        return f"{self.table_store.schema_prefix}{stage}"

    def staging_schema(self, stage: str) -> str:
        """Return the name of the schema in which a stage's tables are built before its commit."""
        return f"{self.schema(stage)}{STAGING_SUFFIX}"

    def slots_schema(self, stage: str) -> str:
        """Return the name of the schema in which earlier versions of a stage's tables are kept."""
        return f"{self.schema(stage)}{SLOTS_SUFFIX}"

    def copy_filter(self, stage: str, table: str | None = None) -> CopyFilter:
        """Return what this instance takes of a source table.

        Of `copy_filter_overrides`, the entry `stage/table` wins over the entry `stage`, and that
        over the general `copy_filter_cnt` or `copy_filter_rate`. Entries replace each other whole.

        Args:
            stage: The stage of the source table, as the overrides name it.
            table: The table; `None` asks for what holds for the stage in general.
        """
        overrides = self._copying.copy_filter_overrides
        chosen = (
            overrides.get(f"{stage}/{table}") or overrides.get(stage) or self._copying
        )  # a model is always true
        return CopyFilter(cnt=chosen.copy_filter_cnt, rate=chosen.copy_filter_rate)

    @property
    def copy_filter_overrides(self) -> dict[str, CopyFilter]:
        """What it takes of the tables of a stage, or of one table, other than in general."""
        return {
            key: CopyFilter(cnt=item.copy_filter_cnt, rate=item.copy_filter_rate)
            for key, item in self._copying.copy_filter_overrides.items()
        }

    def keeps_all_rows(self, stage: str, tables: Collection[str] | None = None) -> bool:
        """Whether its input tables of a stage have all rows of those that they are copied from.

        Args:
            stage: The stage.
            tables: Its tables; None where they are not known: what may be one of them counts.
        """
        roots = self.sample.roots if self.sample else ()
        if tables is not None:
            chosen = [root for root in roots for t in tables if root in (t, f"{stage}/{t}")]
            filters = {table: self.copy_filter(stage, table) for table in tables}
        else:
            below = f"{stage}/"
            chosen = [root for root in roots if "/" not in root or root.startswith(below)]
            overrides = self.copy_filter_overrides.items()
            filters = {key: keep for key, keep in overrides if key.startswith(below)}
            filters[stage] = self.copy_filter(stage)
        all_kept = not chosen and all(keep.keeps_all_rows for keep in filters.values())
        return all_kept or not self.copies


def key_parts(partition_key: str) -> list[str]:
    """Return the parts of a partition key: the instance's name, and a slice where it has one."""
    return partition_key.split(_BETWEEN_DIMENSIONS)
