"""What keeps a stage from being committed: what does not go along with a table, or changes."""

from dataclasses import dataclass

from data_pipeline.errors import DatabaseError


class CannotCarryError(DatabaseError):
    """Something that users attached to a table cannot be carried over to the new one.

    Attributes:
        subject: The object, such as `view public.v`.
        column: The column of a stage's table that is at fault, where that is known.
        reason: What is wrong with it.
    """

    def __init__(self, subject: str, column: str | None, reason: str, remedy: str) -> None:
        super().__init__(f"{subject[:1].upper()}{subject[1:]} {reason} {remedy}")
        self.subject = subject
        self.column = column
        self.reason = reason


class ChangedError(Exception):
    """Somebody changed what hangs on a table while it was about to be replaced: read it anew."""


class ComesLaterError(Exception):
    """A view that the run is going to replace itself does not fit: let both commit together.

    Attributes:
        subject: The view, such as `view full_b.v`.
        stage: The stage that it belongs to.
    """

    def __init__(self, subject: str, stage: str) -> None:
        super().__init__(subject)
        self.subject = subject
        self.stage = stage


@dataclass(frozen=True)
class Broken:
    """An object that did not fit the new tables, and is left dropped.

    Attributes:
        subject: The object, such as `view public.v`.
        reason: Why it could not be put up again.
    """

    subject: str
    reason: str

    def __str__(self) -> str:
        return f"{self.subject} {self.reason}"
