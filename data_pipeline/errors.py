"""The errors of this package: each message says what happened, where, and what to do next."""


class DataPipelineError(Exception):
    """Base of all errors that this package raises on purpose."""


class ConfigurationError(DataPipelineError):
    """The configuration, or a declaration in an asset's code, cannot be used as it stands."""


class DatabaseError(DataPipelineError):
    """The database could not be reached, or refused a statement."""


class MissingRightError(DatabaseError):
    """The role of the database URL lacks a right that the pipeline needs."""


class SharedSessionError(DatabaseError):
    """A connection pool hands sessions of the server around, so locks of a session are no use."""


class EmbeddedServerError(DatabaseError):
    """The embedded PostgreSQL could not be set up, started or stopped."""


class UnsupportedDataError(DataPipelineError):
    """A value, a type or a name that PostgreSQL cannot hold, found before anything was written."""


class TableNotFoundError(DataPipelineError):
    """A table or blob that something reads has not been built yet, or is gone."""


class IsolationError(DataPipelineError):
    """Code of one instance tried to reach what belongs to another."""


class UnstableValueError(DataPipelineError):
    """A value has no content that is the same in every process, so no hash could stand for it."""
