"""The resource factory: what `Definitions`, `materialize` and tests need to run on an instance."""

from pathlib import Path
from typing import Any

from data_pipeline.instances import load_configuration
from data_pipeline.instances.resource import InstanceResource
from data_pipeline.tables.io_manager import InstanceIOManager


def instance_resources(
    name: str | None = None,
    *,
    config: str | Path | None = None,
    per_user: bool | None = None,
    io_manager: bool = True,
) -> dict[str, Any]:
    """Gives the resources of one instance, or of all.

    Args:
        name: The instance; None: every instance, chosen by the partition at run time.
        config: A configuration file; None: the default one.
        per_user: Whether instance ids carry the user's name; None: as configured.
        io_manager: Whether tables go to the database. False for `materialize_to_memory`.

    Returns:
        `instance` (see `InstanceResource`) and, unless left out, `io_manager`.

    Raises:
        ConfigurationError: The configuration is not valid, or has no such instance.
    """
    configuration = load_configuration(config, per_user=per_user)
    if name is not None:
        configuration.instance(name)
    settings: dict[str, Any] = {
        "instance": name,
        "config": None if config is None else str(config),
        "per_user": per_user,
    }
    resources: dict[str, Any] = {"instance": InstanceResource(**settings)}
    if io_manager:
        resources["io_manager"] = InstanceIOManager(**settings)
    return resources
