"""What a step is asked to compute, so that a process with other code or settings can refuse it."""

from collections.abc import Mapping
from typing import Any

from data_pipeline.identity.computation import Identity
from data_pipeline.instances import Instance
from data_pipeline.transfer.stable_hash import stable_hash

Asked = dict[str, dict[str, str | None]]
"""For each thing that is computed (an asset, a check, the instance): digests of what it sees."""

_INSTANCE = "instance"
_RESOURCE = "resource `"
# Another machine may reach the server and the blobs under another address.
_OWN_PLACES = {"url", "print_sql", "table_store_connection"}


def asked(
    instance: Instance, identities: Mapping[str, Identity], checks: Mapping[str, str | None]
) -> Asked:
    """Return what one step is asked for.

    Args:
        instance: The instance of the run.
        identities: The identity of each asset that the step computes, by name.
        checks: The code version of each check that it evaluates, by name.
    """
    assets = {f"`{name}`": _of_asset(identity) for name, identity in identities.items()}
    evaluated = {f"check {name}": {"code": version} for name, version in checks.items()}
    return {_INSTANCE: _of_instance(instance), **assets, **evaluated}


def without_resources(asked: Asked) -> Asked:
    """Return what is asked but for resources: a process that the leader has started has its own."""
    return {
        name: {aspect: said for aspect, said in seen.items() if not aspect.startswith(_RESOURCE)}
        for name, seen in asked.items()
    }


def _of_asset(identity: Identity) -> dict[str, str | None]:
    resources = {f"{_RESOURCE}{key}`": digest for key, digest in identity.resources.items()}
    return {
        "code": identity.code_version,
        "op configuration": identity.config,
        "inputs": identity.wiring,
        "table properties": identity.declared,
        "attrs": identity.attrs,
        "settings of sessions": stable_hash(dict(identity.settings)),
        **resources,
    }


def _of_instance(instance: Instance) -> dict[str, str | None]:
    store = instance.table_store.model_dump(exclude=_OWN_PLACES)
    found: dict[str, Any] = {
        "instance_id": instance.instance_id,
        **{f"table_store.{name}": value for name, value in store.items()},
        "blob_store.serializers": instance.blob_store.serializers,
        "copy_source": instance.source and instance.source.instance_id,
        "cache_validation.cache_slots": instance.cache_validation.cache_slots,
    }
    return {name: stable_hash(value) for name, value in found.items()}
