"""Where an instance keeps its tables and blobs, and how its stages commit."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
)

from data_pipeline.instances.settings.database_url import DatabaseUrl
from data_pipeline.instances.settings.strict import Settings, not_boolean


class TableStore(Settings):
    """Where the tables of an instance live, how they are written, and how a stage commits.

    Attributes:
        table_store_connection: The connection that the other values come from.
        url: The database.
        schema_prefix: How the schemas of the stages begin.
        create_database_if_not_exists: Whether to create a missing database.
        print_sql: Whether to log every statement.
        unlogged: Whether tables are unlogged unless they say otherwise.
        on_broken_view: What becomes of a user's view that does not fit a new table: `fail` leaves
            the whole stage as it is, `drop` commits without the view.
        replace: What a commit replaces unless a table says otherwise: the `table` as a whole, or
            only those of its `rows` that differ.
        commit_wait_seconds: How long a commit waits for readers at most.
        snapshot_wait_seconds: How long it waits for transactions with older snapshots, which find
            its tables empty afterwards; 0: not at all.
        step_wait_seconds: How long a run waits for workers when no process has begun any of its
            steps; then it fails. None: without end.
        reader_role: A role that may read every committed stage of the instance.
        local_cache: A folder on this machine in which frames are kept as Arrow files when they are
            read, so that they are read from there the next time; None: they are not.
        local_cache_max_bytes: How much they may take up; those used longest ago go first.
    """

    table_store_connection: str | None = None
    url: Annotated[DatabaseUrl, PlainSerializer(str, return_type=str)]
    schema_prefix: str
    create_database_if_not_exists: bool = False
    print_sql: bool = False
    unlogged: bool = False
    on_broken_view: Literal["fail", "drop"] = "fail"
    replace: Literal["table", "rows"] = "table"
    commit_wait_seconds: Annotated[float, Field(gt=0), BeforeValidator(not_boolean)] = 3600.0
    snapshot_wait_seconds: Annotated[float, Field(ge=0), BeforeValidator(not_boolean)] = 60.0
    step_wait_seconds: Annotated[float, Field(gt=0), BeforeValidator(not_boolean)] | None = 86400.0
    reader_role: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    local_cache: Path | None = None
    local_cache_max_bytes: Annotated[int, Field(ge=0), BeforeValidator(not_boolean)] = 10**10


def _type_name(value: str) -> str:
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", value):
        raise ValueError(f"a key here must be a type, 'package.module.Type', and {value!r} is none")
    return value


def _serializer_name(value: str) -> str:
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*", value):
        raise ValueError("a serializer is written 'package.module:serializer'")
    return value


def _base_path(value: object) -> Path | str:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):
        raise ValueError("input is not a valid path")
    from fsspec.registry import known_implementations

    protocol, _, rest = value.partition("://")
    if protocol not in known_implementations:
        known = "'s3', 'gs', 'az', 'file'"
        raise ValueError(f"fsspec knows no protocol {protocol!r}; {known} are some that it knows")
    if not rest.strip("/"):
        raise ValueError("a bucket or container is missing behind the protocol")
    return value.rstrip("/")


class BlobStore(Settings):
    """Where the blobs of all instances live; each instance has its own directory below.

    Attributes:
        blob_store_connection: The connection that the other values come from.
        base_path: The directory above those of the instances; a text where it is a URL of object
            storage.
        serializers: What writes and reads blobs of a type and of its subclasses, instead of pickle:
            `package.module:serializer` by `package.module.Type`.
    """

    blob_store_connection: str | None = None
    base_path: Annotated[Path | str, PlainValidator(_base_path)]
    serializers: dict[
        Annotated[str, AfterValidator(_type_name)], Annotated[str, AfterValidator(_serializer_name)]
    ] = Field(default_factory=dict)

    def __hash__(self) -> int:  # a mapping has none; equal stores still have equal hashes
        return hash((self.blob_store_connection, self.base_path))
