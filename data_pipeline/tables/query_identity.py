"""The identity of what is made by a query: of its data, and of the table that it becomes.

Whoever asks whether a table is there already as a query would make it must come to the same keys as
those who store it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data_pipeline.tables.catalog import fingerprint

Inputs = Mapping[str, str | None]


@dataclass(frozen=True)
class QueryIdentity:
    """The identity of what is made by a query.

    Attributes:
        data_version: Identity of its data, for as long as its content is not looked at.
        query_key: Identity of data and properties; None where they may be others next time.
    """

    data_version: str
    query_key: str | None

    @classmethod
    def of_table(
        cls,
        query: str,
        inputs: Inputs,
        properties: Mapping[str, Any],
        *,
        source: str | None = None,
        run_id: str | None = None,
    ) -> "QueryIdentity":
        """Return the identity of a table.

        Args:
            query: The SQL, with the names of committed tables.
            inputs: Data version of each input, None where it is not known.
            properties: The properties of the table, as JSON.
            source: The fingerprint of the source outside that the query reads.
            run_id: The run, where the data may be new in every one.
        """
        sources = [item for item in (source, run_id) if item is not None]
        version = fingerprint("query-1", query, inputs, properties["types"], *sources)
        # How it is committed makes no other table of it.
        made = {name: value for name, value in properties.items() if name != "replace"}
        return cls(version, None if run_id else fingerprint(version, made))

    @classmethod
    def of_query_view(
        cls, query: str, inputs: Inputs, *, source: str | None = None, run_id: str | None = None
    ) -> "QueryIdentity":
        """Return the identity of a view of a query; arguments as in `of_table`."""
        sources = [item for item in (source, run_id) if item is not None]
        version = fingerprint("query-view-1", query, inputs, *sources)
        return cls(version, None if run_id else version)

    @classmethod
    def of_view(
        cls,
        location: str,
        behind: str | None,
        *,
        source: str | None = None,
        run_id: str | None = None,
    ) -> "QueryIdentity":
        """Return the identity of a view that shows another relation under its name.

        Args:
            location: The relation.
            behind: The data version of what it shows; None where that is no table of a pipeline.
            source: The fingerprint of the source outside that it shows.
            run_id: The run, where the data may be new in every one.
        """
        shown = fingerprint("view-1", location)
        sources = [item for item in (source, run_id) if item is not None]
        version = behind or shown
        if sources:
            version = fingerprint("view-1", version, *sources)
        key = fingerprint("view-1", location, *sources) if sources else shown
        return cls(version, None if run_id else key)
