"""Copies that an earlier draw has made, and that are there as it has made them."""

from dataclasses import dataclass

import sqlalchemy as sa


@dataclass(frozen=True)
class CopyIdentity:
    """The identity of a copy.

    Attributes:
        drawn: That of the rows that were written while they were chosen; None: none were.
        every: That of all rows with their roles.
    """

    drawn: str | None
    every: str


@dataclass(frozen=True)
class EarlierCopy:
    """A copy that is there.

    Attributes:
        table: The table.
        rows: So many rows it has.
        identity: Its identity.
    """

    table: sa.TableClause
    rows: int
    identity: CopyIdentity
