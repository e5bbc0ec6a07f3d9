"""The keys of an instance that say which one it is."""

from data_pipeline.instances.settings.strict import Settings


class InstanceKeys(Settings):
    """The keys that decide which instance this is, before anything else can be read.

    Attributes:
        technical_setup: The setup that it inherits from; default: the one called `default`.
        instance_id: What its schemas are called by; default: its name.
        per_user: Whether each user has one of their own, with an `instance_id` of its own.
        per_user_template: That id: it has `{id}` and `{username}` in it.
    """

    technical_setup: str | None = None
    instance_id: str
    per_user: bool = False
    per_user_template: str = "{id}_{username}"
