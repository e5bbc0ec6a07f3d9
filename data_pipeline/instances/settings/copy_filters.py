"""How much of its source an instance copies: the attrs that this package reads itself."""

from typing import Annotated

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from data_pipeline.instances.settings.sample import SampleSettings
from data_pipeline.instances.settings.strict import Settings, not_boolean


class CopyFilterAttrs(Settings):
    """How many rows of a source table a copying instance takes; by default all.

    Attributes:
        copy_filter_cnt: So many of the first rows by primary key.
        copy_filter_rate: A share of the rows, by a hash of the primary key.
    """

    copy_filter_cnt: Annotated[int, Field(ge=1), BeforeValidator(not_boolean)] | None = None
    copy_filter_rate: Annotated[float, Field(gt=0, le=1), BeforeValidator(not_boolean)] | None = (
        None
    )

    @model_validator(mode="after")
    def _one_at_most(self) -> "CopyFilterAttrs":
        if self.copy_filter_cnt is not None and self.copy_filter_rate is not None:
            raise ValueError("copy_filter_cnt and copy_filter_rate exclude each other")
        return self


class CopyFilterOverride(CopyFilterAttrs):
    """The same for the tables of one stage, or for one table; it replaces the general one."""

    @model_validator(mode="after")
    def _one_at_least(self) -> "CopyFilterOverride":
        if self.copy_filter_cnt is None and self.copy_filter_rate is None:
            raise ValueError("copy_filter_cnt or copy_filter_rate is needed (rate 1.0: all rows)")
        return self


class CopyAttrs(CopyFilterAttrs):
    """The attrs that this package reads itself. All others are free, for pipeline code to read.

    Attributes:
        copy_filtered_input: Whether input tables are copied, not loaded from their sources.
        copy_source: The instance that they are copied from.
        copy_per_user: Whether that is the one of the user; else the one that all share.
        copy_filter_overrides: Other filters, by stage or `stage/table`.
        sample: Which rows are copied of stages that have one of its roots.
    """

    model_config = ConfigDict(extra="allow")

    copy_filtered_input: bool = False
    copy_source: str | None = None
    copy_per_user: bool = False
    copy_filter_overrides: dict[
        Annotated[str, Field(pattern=r"^[^/]+(/[^/]+)?$")], CopyFilterOverride
    ] = Field(default_factory=dict)
    sample: SampleSettings | None = None
