"""The libraries whose versions count as code: import names, and versions in use."""

import importlib.metadata
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data_pipeline.errors import ConfigurationError


@dataclass(frozen=True)
class Package:
    """A library outside the project whose version counts.

    Attributes:
        name: The name it is installed by.
        version: Its version.
    """

    name: str
    version: str


def tracked_by_module(packages: Mapping[str, str] | Sequence[str]) -> Mapping[str, Package]:
    """Gives the tracked packages by the names that their top modules are imported by.

    Args:
        packages: Names of installed packages, or such names with the versions to use.

    Raises:
        ConfigurationError: A package without a given version is not installed, or is installed from
            a folder, where its code can change under the same version.
    """
    if isinstance(packages, str):
        raise ConfigurationError(
            f"tracked_packages: {packages!r} is a text. Give a list of package names."
        )
    given = packages if isinstance(packages, Mapping) else dict.fromkeys(packages)
    return {
        module: Package(name, version or _installed_version(name))
        for name, version in given.items()
        for module in _modules(name)
    }


def _installed_version(name: str) -> str:
    try:
        found = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError) as error:
        raise ConfigurationError(
            f"tracked_packages: `{name}` is not installed. Install it, correct its name (that of "
            "the package, as `pip list` shows it), or take it off the list."
        ) from error
    if _is_editable(found):
        raise ConfigurationError(
            f"tracked_packages: `{name}` is installed from a folder in editable mode, where its "
            "code changes under the same version. Count it as part of the project (project_roots), "
            "or give its version in the configuration and raise it with each change."
        )
    version = found.metadata["Version"]
    if not version:
        raise ConfigurationError(
            f"tracked_packages: the installed package `{name}` states no version. "
            "Give one in the configuration."
        )
    return str(version)


def _is_editable(found: importlib.metadata.Distribution) -> bool:
    origin = found.read_text("direct_url.json")
    return bool(origin) and bool(json.loads(origin or "{}").get("dir_info", {}).get("editable"))


def _modules(name: str) -> set[str]:
    """Gives the names of the top modules that a package installs."""
    try:
        found = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return {re.sub(r"[-.]", "_", name)}
    listed = (found.read_text("top_level.txt") or "").split()
    if not listed:
        tops = {file.parts[0] for file in found.files or ()}
        listed = [top.removesuffix(".py") for top in tops if re.fullmatch(r"\w+(\.py)?", top)]
    return set(listed) or {re.sub(r"[-.]", "_", name)}
