"""What goes wrong with the attempts of a commit, and whether it may pass by itself."""

import sqlalchemy as sa

from data_pipeline.database.connection import Database
from data_pipeline.database.lock_waiting import is_busy
from data_pipeline.errors import CannotCarryError, MissingRightError

# How often in a row until it is lasting: what does not fit, and other errors of PostgreSQL. Some
# come from no change of a table: a lack of resources (53), an operator (57), disks (58).
_MISFITS, _ERRORS = 2, 3
_FROM_OUTSIDE = ("53", "57", "58")
# PostgreSQL's internal errors: while it reads catalogs, users drop what they name ("could not open
# relation with OID"), which those who make a view anew again and again do time after time.
_INTERNAL, _INTERNAL_ERRORS = "XX", 50


class PerhapsError(Exception):
    """Something went wrong that may pass by itself."""


class Trouble:
    """What went wrong in the last attempts: it may come from what somebody changes right now.

    Only what comes again in the next attempt is lasting.

    Attributes:
        text: What went wrong in the last one; empty if readers were in the way.
    """

    def __init__(self) -> None:
        self.text = ""
        self._times = 0

    def passes(self, text: str = "") -> None:
        """Note what will pass."""
        self.text, self._times = text, 0

    def is_lasting(
        self, error: sa.exc.DBAPIError | MissingRightError | CannotCarryError, database: Database
    ) -> bool:
        """Note an error; tell whether it is lasting."""
        if isinstance(error, CannotCarryError):
            return self._is_there_again(str(error), _MISFITS)
        if isinstance(error, MissingRightError):
            return self._is_there_again(str(error), _ERRORS)
        if is_busy(error):
            self.passes()
            return False
        text = f"PostgreSQL says: {database.scrubbed(error.orig)}"
        code = getattr(error.orig, "pgcode", None) or ""
        return self._is_there_again(text, _times(code))

    def check_again(self, text: str) -> None:
        """Note what does not fit.

        Raises:
            PerhapsError: It did so for the first time.
        """
        if not self._is_there_again(text, _MISFITS):
            raise PerhapsError

    def _is_there_again(self, text: str, times: int) -> bool:
        self.text = text
        self._times += 1
        return self._times >= times


def _times(code: str) -> int:
    if code.startswith(_FROM_OUTSIDE):
        return 1
    return _INTERNAL_ERRORS if code.startswith(_INTERNAL) else _ERRORS
