"""The errors of this package: each message says what happened, where, and what to do next."""


class DataPipelineError(Exception):
    """Base of all errors that this package raises on purpose."""


class ConfigurationError(DataPipelineError):
    """The configuration, or a declaration in an asset's code, cannot be used as it stands."""


class DefinitionsError(DataPipelineError):
    """The module of a project, with the definitions in it, cannot be loaded."""


class DatabaseError(DataPipelineError):
    """The database could not be reached, or refused a statement."""


class MissingRightError(DatabaseError):
    """The role of the database URL lacks a right that the pipeline needs."""


class SharedSessionError(DatabaseError):
    """A connection pool hands sessions of the server around, so locks of a session are no use."""


class EmbeddedServerError(DatabaseError):
    """The embedded PostgreSQL could not be set up, started or stopped."""


class BlobStoreError(DataPipelineError):
    """The place where blobs lie could not be reached, or refused."""


class UnsupportedDataError(DataPipelineError):
    """A value, a type or a name that PostgreSQL cannot hold, found before anything was written."""


class TableNotFoundError(DataPipelineError):
    """A table or blob that something reads has not been built yet, or is gone."""


class UnknownColumnError(DataPipelineError, AttributeError, KeyError):
    """Code asks a table for a column that it does not have."""

    __str__ = Exception.__str__


class IsolationError(DataPipelineError):
    """Code of one instance tried to reach what belongs to another."""


class UnstableValueError(DataPipelineError):
    """A value has no content that is the same in every process, so no hash could stand for it."""


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
