"""The `url` of an instance: the embedded server or a PostgreSQL database, the password hidden."""

import re
from urllib.parse import parse_qsl, unquote, urlsplit

EMBEDDED = "embedded"

_SCHEME = re.compile(r"postgresql(\+[a-z0-9_]+)?://")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SEVERAL_HOSTS = "postgresql://user:password@/database?host=one:5432&host=other:5432"
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
        if "," in text.rpartition("@")[2].partition("/")[0]:
            return f"of several hosts each one is a parameter: {_SEVERAL_HOSTS}"
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
