"""Instances that the configuration does not name any more, or that are somebody else's."""

from dataclasses import replace

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import Configuration, Instance
from data_pipeline.instances.naming import check_instance_id
from data_pipeline.tables import catalog
from data_pipeline.tables.connection import database


def unconfigured(configuration: Configuration, instance_id: str) -> Instance:
    """Gives the instance with a catalog in the database, named and stored as the configured ones.

    Raises:
        ConfigurationError: There is no such catalog, or configured instances differ in how schemas
            begin or where blobs lie, so that nobody knows where those of this one are.
    """
    check_instance_id(configuration.file, "instances", instance_id)
    likely: dict[tuple[object, ...], Instance] = {}
    for configured in configuration.instances.values():
        instance = _as_id(configured, instance_id)
        store = instance.table_store
        place = (store.url.identity, store.schema_prefix, instance.blob_store.base_path)
        likely.setdefault(place, instance)
    found = [instance for instance in likely.values() if _has_catalog(instance)]
    if not found:
        known = ", ".join(f"'{name}'" for name in configuration.instances)
        raise ConfigurationError(
            f"{configuration.file}: there is no instance '{instance_id}' (known here: {known}), "
            f"and no catalog {instance_id}_catalog in the database. Name one of these, or the id "
            "of an instance that was built there."
        )
    if len(found) > 1:
        raise ConfigurationError(
            f"{configuration.file} does not name the instance '{instance_id}', and the instances "
            "that it names differ in database, schema_prefix or blob store, so it is unclear "
            f"where '{instance_id}' lies. Add it to the file with the values it was built with."
        )
    return found[0]


def _as_id(like: Instance, instance_id: str) -> Instance:
    store = like.table_store
    prefix = instance_id + store.schema_prefix.removeprefix(like.instance_id)
    return replace(
        like,
        name=instance_id,
        instance_id=instance_id,
        table_store=store.model_copy(update={"schema_prefix": prefix}),
        source=None,
        build_command="",
    )


def _has_catalog(instance: Instance) -> bool:
    with database(instance).begin() as connection:
        return catalog.exists(connection, instance.catalog_schema)
