"""What an asset's code can know of the instance that it runs for."""

from typing import Any, ClassVar

import dagster as dg
from pydantic import PrivateAttr

from data_pipeline.errors import ConfigurationError, IsolationError
from data_pipeline.instances.configuration import load_configuration
from data_pipeline.instances.instance import Instance, key_parts

PARTITION_TAG = "dagster/partition"
"""The run tag that holds the partition key, that is: the instance's name."""


class InstanceOfRun(dg.ConfigurableResource):  # type: ignore[type-arg] # itself is the value
    """The instance of a run, without its tables; `InstanceResource` reads those, too.

    An asset that does not take it cannot see the instance's attrs.

    Attributes:
        instance: The one instance to use; None: chosen by partition at run time.
        config: A configuration file; None: the default one.
        per_user: Whether instance ids carry the user's name; None: as configured.
    """

    instance: str | None = None
    config: str | None = None
    per_user: bool | None = None

    chooses_instance_by: ClassVar[frozenset[str]] = frozenset({"instance", "config", "per_user"})
    """The fields that say where results lie, not what they are: attrs count in their place."""

    _name: str | None = PrivateAttr(default=None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Find the instance of the run.

        Raises:
            IsolationError: The run's partition is another instance than the pinned one.
        """
        run = context.run
        partition = run.tags.get(PARTITION_TAG) if run else None
        if self.instance is not None and self.instance not in key_parts(partition or self.instance):
            raise IsolationError(
                f"The run is for instance `{partition}`, but the resources are those of "
                f"`{self.instance}`. Use partition_key={self.instance!r}, or "
                f"instance_resources({partition!r})."
            )
        self._name = partition or self.instance

    @property
    def current(self) -> Instance:
        """The instance of the run.

        Raises:
            ConfigurationError: The run has no partition and the resource is not pinned, or there is
                no such instance.
        """
        if self._name is None:
            raise ConfigurationError(
                "The run has no partition, so it is not clear for which instance it is. Launch it "
                "with a partition (an instance's name), or use instance_resources(name)."
            )
        return load_configuration(self.config, per_user=self.per_user).instance(self._name)

    @property
    def slice(self) -> str | None:
        """The key of the slice that is computed, such as its day; None: of no slice."""
        return self.current.slice

    @property
    def attrs(self) -> dict[str, Any]:
        """The free dictionary of the instance, from the configuration."""
        return self.current.attrs
