"""The keys of an instance that say which one it is."""

from data_pipeline.instances.settings.strict import Settings


class InstanceKeys(Settings):
    """The keys that decide which instance this is, before anything else can be read."""

    technical_setup: str | None = None
    instance_id: str
    per_user: bool = False
    per_user_template: str = "{id}_{username}"
