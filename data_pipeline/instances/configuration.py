"""The configuration: all instances of one file, validated as a whole."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from data_pipeline.instances.environment import Environment
from data_pipeline.instances.instance import Instance
from data_pipeline.instances.layers import Sections
from data_pipeline.instances.merge import Located, locate
from data_pipeline.instances.placeholders import Placeholders
from data_pipeline.instances.problems import problem, shown, suggestion
from data_pipeline.instances.resolution import Resolver
from data_pipeline.instances.schemas import check_schemas
from data_pipeline.instances.source import configuration_path, read_configuration
from data_pipeline.instances.structure import check_structure

_DEFAULT_NAME = "data_pipeline"


@dataclass(frozen=True)
class Configuration:
    """What `instances.yaml` says, in the environment of this process.

    Attributes:
        name: Name of the project.
        file: The file it was read from.
        home: Directory of the embedded server and of local storage (`DATA_PIPELINE_HOME`).
        tracked_packages: Libraries whose versions count as code of the assets that use them.
        instances: The instances by name, in the order of the file.
    """

    name: str
    file: Path
    home: Path
    tracked_packages: tuple[str, ...]
    instances: Mapping[str, Instance] = field(hash=False)
    _neighbours: tuple[Instance, ...] = field(repr=False)

    def instance(self, name: str) -> Instance:
        """Give an instance by its name, which is its partition key.

        Raises:
            ConfigurationError: There is none of that name.
        """
        if name not in self.instances:
            what = f"there is no instance {shown(name)}"
            raise problem(self.file, "instances", what, suggestion(name, self.instances))
        return self.instances[name]

    def read_by(self, reader: Instance, name: str) -> Instance:
        """Give the instance that `reader` means by a partition key.

        A copying instance says itself whose source it reads (`copy_per_user`), and so does that.

        Raises:
            ConfigurationError: There is none of that name.
        """
        if name == reader.name:
            return reader
        source = reader.source
        return self.instance(name) if source is None else self.read_by(source, name)

    def check_stages(self, stages: Iterable[str]) -> None:
        """Check that each of these stages has schemas of its own in each instance.

        Call it with the stages of all pipelines together. Beside the instances of this
        configuration it looks at those that share a database with per-user ones: the shared
        instances, and the ones that are copied from.

        Raises:
            ConfigurationError: A schema name is over 63 bytes, or two instances, two stages, or a
                stage and a catalog would use the same schema.
        """
        check_schemas(self.file, (*self.instances.values(), *self._neighbours), stages)


def load_configuration(
    path: Path | str | None = None,
    *,
    per_user: bool | None = None,
    environ: Mapping[str, str] | None = None,
) -> Configuration:
    """Read and validate the configuration.

    Args:
        path: The file; by default `DATA_PIPELINE_CONFIG`, else the one of the package.
        per_user: Whether all instance ids have the user's name in them, or none; by default
            `DATA_PIPELINE_PER_USER`, else what the file says of each instance.
        environ: The environment variables; by default those of the process.

    Raises:
        ConfigurationError: Something in it is wrong; the text names file, key and remedy.
    """
    environment = Environment(os.environ if environ is None else environ)
    file = configuration_path(path, environment.variables)
    content = read_configuration(file)
    check_structure(file, content)
    sections = Sections(file, locate(content, ""), environment)
    if not sections.instance_names:
        what = "there is no instance"
        raise problem(file, "instances", what, "Add one, such as 'full: {instance_id: full}'.")
    name = _name(sections)
    resolver = Resolver(sections, name, environment.per_user if per_user is None else per_user)
    instances = {key: resolver.instance(key) for key in sections.instance_names}
    for key in sections.instance_names:
        if (key, True) in resolver.built:
            resolver.instance(key, per_user=False)
    own = {id(instance) for instance in instances.values()}
    neighbours = tuple(other for other in resolver.built.values() if id(other) not in own)
    configuration = Configuration(
        name,
        file,
        environment.home,
        _tracked_packages(sections),
        MappingProxyType(instances),
        neighbours,
    )
    configuration.check_stages([])
    return configuration


def _tracked_packages(sections: Sections) -> tuple[str, ...]:
    located = sections.content.get("tracked_packages")
    packages = located.value if located else None
    if packages is None:
        return ()
    if not isinstance(packages, list) or not all(isinstance(item, str) for item in packages):
        what = f"{shown(packages)} is no list of package names"
        raise problem(sections.file, "tracked_packages", what, "Write [scikit-learn], for example.")
    return tuple(packages)


def _name(sections: Sections) -> str:
    located = sections.content.get("name") or Located(_DEFAULT_NAME, "name")
    if not isinstance(located.value, str) or not located.value:
        what = f"the name {shown(located.value)} is not a text"
        raise problem(sections.file, "name", what, "Write a text, in quotes if need be.")
    return Placeholders(sections.file, sections.environment, names={}).fill(located)
