"""What the configuration takes from the machine: variables, the home directory, the user."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data_pipeline.errors import ConfigurationError

_PACKAGE = Path(__file__).resolve().parents[1]
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_PLAIN_USER = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
_HASHED_USER = re.compile(r".*_[0-9a-f]{8}")
_LONGEST_PLAIN_USER = 24


@dataclass(frozen=True)
class Environment:
    """The environment variables, and what follows from them. Its `repr` shows no variable."""

    variables: Mapping[str, str] = field(repr=False)

    @property
    def home(self) -> Path:
        """`DATA_PIPELINE_HOME`, else `.data_pipeline/` in the project; always absolute.

        The project is the checkout that the package lies in, else the current directory.
        """
        chosen = self.variables.get("DATA_PIPELINE_HOME")
        if chosen:
            return Path(chosen).expanduser().absolute()
        checkout = _PACKAGE.parent
        project = checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()
        return project / ".data_pipeline"

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
        """Give an environment variable; `DATA_PIPELINE_HOME` is always there."""
        return str(self.home) if name == "DATA_PIPELINE_HOME" else self.variables.get(name)

    def username(self) -> str:
        """Give the operating-system user, found as `getpass.getuser` does.

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


def user_identifier(username: str) -> str:
    """Give the user's name as a part of a schema name, a different one for each user.

    A short name of lower-case letters, digits and single underscores stays as it is. Any other
    loses what does not fit and gains 8 digits of its SHA-256, and so does a name that already looks
    like such a result: `Ann-Lee` and `ann.lee` remain two users.
    """
    plain = _PLAIN_USER.fullmatch(username) and len(username) <= _LONGEST_PLAIN_USER
    if plain and not _HASHED_USER.fullmatch(username):
        return username
    letters = re.sub(r"[^a-z0-9]+", "_", username.lower()).strip("_")
    kept = letters[:_LONGEST_PLAIN_USER].strip("_") or "user"
    digest = hashlib.sha256(username.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{kept}_{digest[:8]}"
