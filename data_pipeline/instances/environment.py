"""What the configuration takes from the machine: variables, the home directory, the user."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import project

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


def user_identifier(username: str) -> str:
    """Return the user's name as a part of a schema name, a different one for each user.

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


EMBEDDED = "embedded"

_SCHEME = re.compile(r"postgresql(\+[a-z0-9_]+)?://")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_REMEDY = "write special characters in user and password as %XX (for example '@' as %40)"


class DatabaseUrl:
    """`embedded`, or the URL of a PostgreSQL database.

    `str`, `repr` and formatting mask the password (and every query parameter); only `reveal` gives
    it. Hand the revealed text to a driver at the last moment, and never to a log or an error.
    """

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        """Check and wrap the text.

        Raises:
            ValueError: It is no usable URL; the message quotes no part of it.
        """
        if text != EMBEDDED:
            flaw = _flaw(text)
            if flaw:
                raise ValueError(flaw)
        self.__text = text

    @property
    def is_embedded(self) -> bool:
        """Whether this means the private server that starts by itself."""
        return self.__text == EMBEDDED

    @property
    def database(self) -> str | None:
        """Name of the database; `None` for the embedded server."""
        return None if self.is_embedded else unquote(urlsplit(self.__text).path[1:])

    @property
    def identity(self) -> tuple[str, ...]:
        """What tells two databases apart: equal for two users of the same database."""
        if self.is_embedded:
            return (EMBEDDED,)
        parts = urlsplit(self.__text)
        overrides = [
            f"{key}={value}"
            for key, value in sorted(parse_qsl(parts.query))
            if key in {"host", "hostaddr", "port", "service"}
        ]
        return (parts.hostname or "", str(parts.port or 5432), self.database or "", *overrides)

    def reveal(self) -> str:
        """Return the whole text, password included."""
        return self.__text

    def __str__(self) -> str:
        if self.is_embedded:
            return EMBEDDED
        parts = urlsplit(self.__text)
        user, at, host = parts.netloc.rpartition("@")
        name, colon, _ = user.partition(":")
        login = f"{name}:***{at}" if colon else f"{name}{at}"
        query = "?***" if parts.query else ""
        return f"{parts.scheme}://{login}{host}{parts.path}{query}"

    def __repr__(self) -> str:
        return f"DatabaseUrl('{self}')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DatabaseUrl) and self.reveal() == other.reveal()

    def __hash__(self) -> int:
        return hash(self.__text)


def _flaw(text: str) -> str | None:
    """Say why this is no usable URL, without quoting it."""
    if not _SCHEME.match(text):
        return "it must be 'embedded' or begin with 'postgresql://'"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return f"host and port cannot be read; {_REMEDY}"
    if any(character.isspace() or not character.isprintable() for character in text):
        return f"it contains white space or control characters; {_REMEDY}"
    if _BROKEN_ESCAPE.search(text):
        return "a '%' is not followed by two hexadecimal digits; write '%' itself as %25"
    if port == 0:
        return "the port must be between 1 and 65535"
    ambiguous = parts.netloc.count("@") > 1 or parts.fragment or "@" in parts.path + parts.query
    if ambiguous or "#" in text:
        return f"user, password and host cannot be told apart; {_REMEDY}"
    if not parts.path[1:] or "/" in parts.path[1:]:
        return "it must end with '/' and the name of one database"
    if any("=" not in pair for pair in parts.query.split("&") if pair):
        return "the part after '?' must consist of key=value pairs"
    return None
