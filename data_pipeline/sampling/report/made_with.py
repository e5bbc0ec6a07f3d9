"""Whether a sample was made with the attrs that its instance has today."""

import sqlalchemy as sa

from data_pipeline.instances import Instance
from data_pipeline.tables.reference import catalog_row_of
from data_pipeline.tables.stable_hash import stable_hash


def has_other_attrs(instance: Instance, made: sa.Table) -> bool:
    """Whether a table was made with other attrs, so that another run may give another sample.

    Args:
        instance: The instance.
        made: A table of it, made by a step that can see the attrs.
    """
    row = catalog_row_of(made)
    before = None if row is None else row.identity.get("attrs")
    return before is not None and before != stable_hash(instance.attrs)
