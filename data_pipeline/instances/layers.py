"""Which parts of the configuration file make up an instance, merged in their order."""

from dataclasses import dataclass, field
from pathlib import Path

from data_pipeline.instances.environment import Environment
from data_pipeline.instances.merge import Located, Tree, merge_all
from data_pipeline.instances.placeholders import Placeholders
from data_pipeline.instances.problems import problem, shown, suggestion

ANY = "__any__"
"""Key in `instances` of what all instances inherit."""
DEFAULT_SETUP = "default"
"""The technical setup of an instance that names none, if the file has one of that name."""


@dataclass(frozen=True)
class Sections:
    """The sections of a configuration file, their values as `Located`."""

    file: Path
    content: Tree = field(repr=False)  # may hold passwords
    environment: Environment

    def section(self, name: str) -> Tree:
        """Give a top-level mapping of the file; empty when the file has none."""
        return self.content.get(name) or {}

    @property
    def instance_names(self) -> list[str]:
        """Names of the instances in the order of the file."""
        return [name for name in self.section("instances") if name != ANY]

    def merged(self, name: str) -> Tree:
        """Give all that the file says about an instance.

        From the least to the most specific: the connections, which the merged stores refer to by
        name; the technical setup; `__any__`; the instance itself.

        Raises:
            ConfigurationError: It refers to a setup or a connection that does not exist.
        """
        instances = self.section("instances")
        own = [instances.get(ANY) or {}, instances[name] or {}]
        layers = [self._technical_setup(merge_all(own)), *own]
        referring = merge_all(layers)
        connections = [
            self._connection(referring, store) for store in ("table_store", "blob_store")
        ]
        return merge_all([*connections, *layers])

    def _technical_setup(self, own: Tree) -> Tree:
        chosen = own.get("technical_setup")
        if chosen is None:
            return self.section("technical_setups").get(DEFAULT_SETUP) or {}
        return self._entry(chosen, "technical_setups")

    def _connection(self, referring: Tree, store: str) -> Tree:
        chosen = referring.get(store, {}).get(f"{store}_connection")
        return {} if chosen is None else {store: self._entry(chosen, f"{store}_connections")}

    def _entry(self, chosen: Located, section: str) -> Tree:
        """Give the entry of a section that a value of the file refers to by its name."""
        entries = self.section(section)
        name = Placeholders(self.file, self.environment, names={}).fill_tree(chosen)
        if not isinstance(name, str) or name not in entries:
            what = f"{shown(chosen.value)} is not in {section}"
            raise problem(self.file, chosen.key, what, suggestion(str(name), entries))
        return entries[name] or {}
