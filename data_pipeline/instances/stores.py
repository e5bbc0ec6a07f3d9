"""Reads where an instance's tables and blobs live."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_pipeline.instances.merge import Located, Tree
from data_pipeline.instances.naming import check_schema_prefix
from data_pipeline.instances.placeholders import Placeholders
from data_pipeline.instances.problems import problem
from data_pipeline.instances.settings import BlobStore, TableStore
from data_pipeline.instances.source import read_url_attrs
from data_pipeline.instances.url import EMBEDDED, DatabaseUrl
from data_pipeline.instances.validation import origin, validated


def table_store(
    tree: Tree, placeholders: Placeholders, named: Placeholders, instance_id: str, key: str
) -> TableStore:
    """Give the table store of an instance.

    Args:
        tree: Merged `table_store`, values as `Located`.
        placeholders: For the URL: `{username}` is the user's name as it is.
        named: For the schema prefix: `{username}` is the user's name as a part of an identifier.
        instance_id: With which the prefix must begin.
        key: Key path of the merged mapping.

    Raises:
        ConfigurationError: A value is wrong. Nothing of a URL is shown.
    """
    plain = {name: value for name, value in tree.items() if name not in {"url", "url_attrs_file"}}
    values: dict[str, Any] = {"schema_prefix": f"{instance_id}_", **named.fill_tree(plain)}
    values["url"] = _url(tree, placeholders, f"{key}.url")
    store = validated(TableStore, values, placeholders.file, key, tree)
    where, _ = origin(tree, key, ("schema_prefix",))
    check_schema_prefix(placeholders.file, where, store.schema_prefix, instance_id)
    return store


def blob_store(tree: Tree, placeholders: Placeholders, key: str) -> BlobStore:
    """Give the blob store of an instance; by default it is in the home directory.

    A relative path starts at the directory of the configuration file.

    Raises:
        ConfigurationError: A value is wrong.
    """
    default = {"base_path": str(placeholders.environment.home / "blobs")}
    values = {**default, **placeholders.fill_tree(tree)}
    where, _ = origin(tree, key, ("base_path",))
    if values["base_path"] == "":
        raise problem(placeholders.file, where, "the path is empty", "Name a directory.")
    if isinstance(values["base_path"], str):
        values["base_path"] = _path(values["base_path"], placeholders.file)
    return validated(BlobStore, values, placeholders.file, key, tree)


def _url(tree: Tree, placeholders: Placeholders, key: str) -> DatabaseUrl:
    replacement = placeholders.environment.database_url
    if replacement is not None:
        where, text = "environment variable DATA_PIPELINE_DATABASE_URL", replacement
    else:
        located = tree.get("url", Located(EMBEDDED, key))
        where = located.key
        if not isinstance(located.value, str):
            what = f"the URL is of type {type(located.value).__name__}, not a text"
            raise problem(placeholders.file, where, what, "Put it in quotes.")
        text = placeholders.fill_url(located, lambda: _url_attrs(tree, placeholders))
    flaw = None
    try:
        return DatabaseUrl(text)
    except ValueError as error:
        flaw = str(error)
    remedy = "Write 'embedded' or 'postgresql://user:password@host:port/database'."
    raise problem(placeholders.file, where, f"no usable database URL: {flaw}", remedy)


def _url_attrs(tree: Tree, placeholders: Placeholders) -> Mapping[str, str] | None:
    located = tree.get("url_attrs_file")
    if located is None:
        return None
    if not isinstance(located.value, str):
        what = f"the path is of type {type(located.value).__name__}, not a text"
        raise problem(placeholders.file, located.key, what, "Put it in quotes.")
    path = _path(placeholders.fill(located), placeholders.file)
    return read_url_attrs(path, placeholders.file, located.key)


def _path(text: str, file: Path) -> Path:
    return file.parent / Path(text).expanduser()
