"""How results are validated: the cache validation of an instance, for all runs or for one."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, cast, get_args

from pydantic import BeforeValidator, Field

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances.settings.strict import Settings, not_boolean

if TYPE_CHECKING:
    from data_pipeline.instances.instance import Instance

MODE_TAG = "data_pipeline/cache_validation"
IGNORE_CODE_TAG = "data_pipeline/ignore_code_version"
MODE_VARIABLE = "DATA_PIPELINE_CACHE_VALIDATION"
IGNORE_CODE_VARIABLE = "DATA_PIPELINE_IGNORE_CODE_VERSION"

_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


CacheMode = Literal[
    "normal",
    "ignore_fresh_input",
    "assert_no_fresh_input",
    "force_fresh_input",
    "force_cache_invalid",
]
"""How results are validated; see `Validation`."""


class CacheValidation(Settings):
    """When a result is reused.

    Attributes:
        mode: For all runs, what the tag `data_pipeline/cache_validation` says for one.
        ignore_code_version: Whether results of other code are reused.
        cache_slots: So many earlier versions of each table are kept.
        content_hash_max_bytes: Larger tables are not compared by a hash of their rows.
    """

    mode: CacheMode = "normal"
    ignore_code_version: bool = False
    cache_slots: Annotated[int, Field(ge=0), BeforeValidator(not_boolean)] = 1
    content_hash_max_bytes: Annotated[int, Field(ge=0), BeforeValidator(not_boolean)] = 10**10


@dataclass(frozen=True)
class Validation:
    """Which results may be reused.

    Attributes:
        mode: One of
            `normal` (what neither changed nor takes changed input),
            `ignore_fresh_input` (sources are not asked whether they have new data, and new data
            of an instance that is copied from are not taken),
            `assert_no_fresh_input` (the same, and nothing runs if a table that takes input from
            outside would have to be computed, or a copy made),
            `force_fresh_input` (tables that take input from outside are computed; copies are made
            of new data only, which their versions tell for certain),
            `force_cache_invalid` (everything is computed).
        ignore_code_version: Results of other code may be reused.
    """

    mode: CacheMode = "normal"
    ignore_code_version: bool = False

    @property
    def asks_sources(self) -> bool:
        """Whether fingerprints of sources count, and data of instances that are copied from."""
        return self.mode not in ("ignore_fresh_input", "assert_no_fresh_input")


def validation(
    instance: "Instance", tags: Mapping[str, str], environ: Mapping[str, str] | None = None
) -> Validation:
    """Return the cache validation of a run: its tags, else the environment, else the configuration.

    Raises:
        ConfigurationError: A tag or variable has a value that means nothing.
    """
    environ = os.environ if environ is None else environ
    configured = instance.cache_validation
    mode = tags.get(MODE_TAG) or environ.get(MODE_VARIABLE) or configured.mode
    if mode not in get_args(CacheMode):
        where = f"tag `{MODE_TAG}`" if tags.get(MODE_TAG) else f"variable {MODE_VARIABLE}"
        raise ConfigurationError(
            f"{where}: {mode!r} is no cache validation mode. Use one of "
            f"{', '.join(get_args(CacheMode))}."
        )
    ignore = tags.get(IGNORE_CODE_TAG) or environ.get(IGNORE_CODE_VARIABLE)
    if ignore and ignore.lower() not in _TRUTH:
        raise ConfigurationError(
            f"tag `{IGNORE_CODE_TAG}` or variable {IGNORE_CODE_VARIABLE}: {ignore!r} is neither "
            "true nor false."
        )
    ignores = _TRUTH[ignore.lower()] if ignore else configured.ignore_code_version
    return Validation(cast("CacheMode", mode), ignores)
