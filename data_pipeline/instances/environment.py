"""What the configuration takes from the machine: variables, the home directory, the user."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import project

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True)
class Environment:
    """The environment variables, and what follows from them. Its `repr` shows no variable."""

    variables: Mapping[str, str] = field(repr=False)

    @property
    def home(self) -> Path:
        """`DATA_PIPELINE_HOME`, else `.data_pipeline/` in the project; always absolute."""
        chosen = self.variables.get("DATA_PIPELINE_HOME")
        return Path(chosen).expanduser().absolute() if chosen else project.home()

    @property
    def database_url(self) -> str | None:
        """`DATA_PIPELINE_DATABASE_URL`, which replaces every `url` of the file."""
        return self.variables.get("DATA_PIPELINE_DATABASE_URL") or None

    @property
    def per_user(self) -> bool | None:
        """`DATA_PIPELINE_PER_USER`: for all instances or for none; unset: as the file says."""
        value = self.variables.get("DATA_PIPELINE_PER_USER", "").strip().lower()
        if value in _TRUE:
            return True
        if value in _FALSE:
            return False
        if value:
            raise ConfigurationError(
                f"environment variable DATA_PIPELINE_PER_USER: {value!r} is neither yes nor no. "
                "Set it to 1 or 0, or unset it."
            )
        return None

    def variable(self, name: str) -> str | None:
        """Return an environment variable; `DATA_PIPELINE_HOME` is always there."""
        return str(self.home) if name == "DATA_PIPELINE_HOME" else self.variables.get(name)

    def username(self) -> str:
        """Return the operating-system user, found as `getpass.getuser` does.

        Raises:
            ConfigurationError: The process runs under a number that has no name.
        """
        for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
            if self.variables.get(name):
                return self.variables[name]
        try:
            import pwd  # not on every operating system

            return pwd.getpwuid(os.getuid()).pw_name
        except (ImportError, KeyError):
            raise ConfigurationError(
                "the configuration needs the user's name ({username} or per_user), but this "
                "process has none. Set the environment variable USER."
            ) from None
