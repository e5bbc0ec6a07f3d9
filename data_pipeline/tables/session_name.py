"""The name of database sessions: which run and step is at work, for whoever looks at the server."""

from contextvars import ContextVar

MAX_BYTES = 63
PROGRAM = "data_pipeline"
"""The name of sessions while no run is at work."""

_RUN_CHARACTERS = 8
_name: ContextVar[str] = ContextVar("session_name", default=PROGRAM)


def session_name() -> str:
    """Gives the `application_name` for sessions that are used from now on."""
    return _name.get()


def set_session_name(run_id: str, step: str = "") -> None:
    """Names the sessions of this thread after a run (its first characters) and a step."""
    text = " ".join(filter(None, (PROGRAM, run_id[:_RUN_CHARACTERS], step)))
    printable = "".join(c if " " <= c <= "~" else "?" for c in text)
    _name.set(printable[:MAX_BYTES])


def reset_session_name() -> None:
    """Gives sessions the name of the program alone again."""
    _name.set(PROGRAM)
