"""The names that instances and the schemas of users may have, and what ids may begin with."""

import hashlib
import re
from pathlib import Path

from data_pipeline.instances.merged_layers import problem, shown

_IDENTIFIER = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_PREFIX = re.compile(r"[a-z0-9_]+")
_PLAIN_USER = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
_HASHED_USER = re.compile(r".*_[0-9a-f]{8}")
_LONGEST_PLAIN_USER = 24
_RULE = (
    "Use lower-case letters, digits and single underscores, with a letter first and no "
    "underscore last, such as 'midi' or 'full_2024'."
)

PIPELINE_JOB = "pipeline"
"""Name of the job that runs any instance; every instance has a job of its own name beside it."""


def check_name(file: Path, name: str) -> None:
    """Check the name of an instance, which is its partition key and the name of its job.

    Raises:
        ConfigurationError: It has other characters, or is the name of the job for any instance.
    """
    key = f"instances.{name}"
    if not _IDENTIFIER.fullmatch(name):
        raise problem(file, key, f"{shown(name)} cannot be the name of an instance", _RULE)
    if name == PIPELINE_JOB:
        what = f"'{name}' is the name of the job that runs any instance"
        raise problem(file, key, what, "Choose another name for the instance.")


def check_instance_id(file: Path, key: str, instance_id: str) -> None:
    """Check an instance id, with which the names of schemas and directories begin.

    A double underscore is kept for staging schemas, and `pg_` for PostgreSQL itself.

    Raises:
        ConfigurationError: It could not begin a schema name, or not safely.
    """
    if not _IDENTIFIER.fullmatch(instance_id):
        raise problem(file, key, f"{shown(instance_id)} cannot be an instance id", _RULE)
    if instance_id == "pg" or instance_id.startswith("pg_"):
        what = f"{shown(instance_id)}: PostgreSQL keeps schemas that begin with 'pg_' for itself"
        raise problem(file, key, what, "Choose another instance id.")


def check_schema_prefix(file: Path, key: str, prefix: str, instance_id: str) -> None:
    """Check that all schemas of an instance will begin with its own id.

    Raises:
        ConfigurationError: They would not; instances could overwrite each other.
    """
    if not _PREFIX.fullmatch(prefix) or not prefix.startswith(f"{instance_id}_"):
        what = (
            f"the schema prefix {shown(prefix)} does not begin with '{instance_id}_', so this "
            "instance could reach schemas of others"
        )
        remedy = (
            "Begin it with '{instance_id}_', and go on with lower-case letters, digits and "
            "underscores only."
        )
        raise problem(file, key, what, remedy)


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
