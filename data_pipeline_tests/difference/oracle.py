"""Random pairs of small tables with nasty values, and what differs in them, counted in Python.

Nothing here asks PostgreSQL, or the code under test, what equals what: each value is written down
with a stand-in that equals another one exactly where PostgreSQL says so.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Value = tuple[str, Any]
"""A value as SQL, and its stand-in; those of NULL are `NULL` and None."""

NULL: Value = ("NULL", None)

# By type: values with stand-ins. Equal stand-ins mean values that are equal to PostgreSQL.
TYPES: dict[str, list[Value]] = {
    "integer": [("1", 1), ("2", 2), ("-5", -5), ("0", 0)],
    "bigint": [("9007199254740993", 9007199254740993), ("9007199254740992", 9007199254740992)],
    "double precision": [
        ("'NaN'", "nan"),
        ("'-0'", 0),
        ("'0'", 0),
        ("'Infinity'", "inf"),
        ("1e308", 1e308),
        ("1.5e308", 1.5e308),
        ("0.1", 0.1),
        ("0.1000001", 0.1000001),
    ],
    "real": [("'NaN'", "nan"), ("'-0'", 0), ("0", 0), ("0.5", 0.5)],
    "numeric": [("1.0", 1), ("1.00", 1), ("1", 1), ("'NaN'", "nan"), ("1.000001", 1.000001)],
    "numeric(12,2)": [("1.10", 1.1), ("1.1", 1.1), ("2", 2)],
    "text": [("''", ""), ("'a'", "a"), ("'A'", "A"), ("'é\"''x'", "é"), ("'a '", "a ")],
    "character(3)": [("'a'", "a"), ("'a '", "a"), ("'b'", "b")],
    "character varying(9)": [("'a'", "a"), ("'a '", "a ")],
    "boolean": [("true", True), ("false", False)],
    "date": [("'2024-02-29'", 1), ("'infinity'", 2), ("'0044-03-15 BC'", 3)],
    "timestamp with time zone": [
        ("'2024-01-01 12:00+00'", 1),
        ("'2024-01-01 13:00+01'", 1),
        ("'2024-01-01 12:00+01'", 2),
    ],
    "timestamp": [("'2024-01-01 12:00'", 1), ("'2024-01-01 13:00'", 2)],
    "time with time zone": [("'12:00+00'", 1), ("'13:00+01'", 2), ("'11:00-01'", 3)],
    "interval": [("'1 month'", 30), ("'30 days'", 30), ("'31 days'", 31), ("'720 hours'", 30)],
    "bytea": [("'\\x00'", 0), ("'\\x0001'", 1)],
    "uuid": [
        ("'00000000-0000-0000-0000-00000000000a'", 1),
        ("'{0000000000000000000000000000000A}'", 1),
    ],
    "inet": [("'10.0.0.1'", 1), ("'10.0.0.1/32'", 1), ("'10.0.0.0/8'", 2)],
    "jsonb": [
        ("""'{"a": 1, "b": 2}'""", 1),
        ("""'{"b":2,"a":1.0}'""", 1),
        ("'null'", 2),
        ("'[1]'", 3),
    ],
    "json": [("""'{"a":1}'""", 1), ("""'{"a": 1}'""", 2), ("'null'", 3)],
    "point": [("'(1,2)'", 1), ("'(1,2.0)'", 1), ("'(2,1)'", 2)],
    "box": [("'(0,0),(2,2)'", 1), ("'(0,0),(4,1)'", 2)],
    "integer[]": [("'{}'", ()), ("'{1,NULL}'", (1, None)), ("'{{1},{2}}'", 3)],
    "numeric[]": [("'{1.0}'", 1), ("'{1.00}'", 1), ("'{NaN}'", 2)],
    "json[]": [("""ARRAY['{"a":1}'::json]""", 1), ("""ARRAY['{"a": 1}'::json]""", 2)],
    "int4range": [("'[1,3]'", 1), ("'[1,4)'", 1), ("'empty'", 2)],
    "bit(3)": [("B'101'", 1), ("B'100'", 2)],
    "money": [("1.5::numeric::money", 1), ("2::numeric::money", 2)],
    "mood": [("'sad'", 1), ("'glad'", 2)],
    "price": [("1.0", 1), ("1.00", 1), ("2", 2)],
    "couple": [("ROW(1, 'x')", 1), ("ROW(1, NULL)", 2)],
    "tsvector": [("'a b'", 1), ("'b a'", 1), ("'c'", 2)],
}
SETUP = """
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE DOMAIN price AS numeric;
CREATE TYPE couple AS (number integer, word text);
"""

_KEYS = ("integer", "text", "numeric", "timestamp with time zone", "character(3)", "mood", "uuid")
_NAMES = (
    "a",
    "b",
    "t",
    "Ünder score",
    'quo"te',
    "select",
    "k0",
    "c0",
    "d",
    "rows",
    "%s",
    ":x",
    "n",
)


@dataclass(frozen=True)
class MadeTable:
    """A table: columns with types, and rows of values."""

    name: str
    columns: dict[str, str]
    rows: list[tuple[Value, ...]]

    def sql(self, key: Sequence[str]) -> str:
        """Gives the statements that make it."""
        quoted = {name: '"' + name.replace('"', '""') + '"' for name in self.columns}
        columns = ", ".join(f"{quoted[name]} {kind}" for name, kind in self.columns.items())
        primary = f", PRIMARY KEY ({', '.join(quoted[k] for k in key)})" if key else ""
        made = f"CREATE TABLE {self.name} ({columns}{primary});"
        if not self.rows:
            return made
        values = ", ".join(f"({', '.join(sql for sql, _ in row)})" for row in self.rows)
        return f"{made} INSERT INTO {self.name} VALUES {values};"


@dataclass(frozen=True)
class MadePair:
    """Two versions of a table; whether the database keeps their key."""

    before: MadeTable
    after: MadeTable
    key: tuple[str, ...]
    has_constraint: bool

    @property
    def sql(self) -> str:
        """Gives the statements that make both."""
        key = self.key if self.has_constraint else ()
        return self.before.sql(key) + self.after.sql(key)


@dataclass(frozen=True)
class Expected:
    """What differs."""

    before: int
    after: int
    added: int
    removed: int
    changed: int | None
    columns: dict[str, int]


def made_pair(seed: int, name: str) -> MadePair:
    """Gives a pair of tables that differ in rows, values, and sometimes columns."""
    dice = random.Random(seed)
    names = dice.sample(_NAMES, dice.randint(2, 7))
    key = tuple(names[: dice.choice((0, 1, 1, 1, 2))])
    types = {n: dice.choice(_KEYS if n in key else list(TYPES)) for n in names}
    rows = [_row(dice, types) for _ in range(dice.choice((0, 1, 4, 8, 12)))]
    has_constraint = bool(key) and dice.random() < 0.5
    if has_constraint:
        rows = _without_faults(names, key, rows)
    after = [row for row in rows if dice.random() > 0.15]
    after = [_changed(dice, names, key, types, row) for row in after]
    after += [_row(dice, types) for _ in range(dice.choice((0, 0, 1, 3)))]
    if has_constraint:
        after = _without_faults(names, key, after)
    elif after and dice.random() < 0.3:
        after += dice.sample(after, 1)
    dice.shuffle(after)
    later = dict(types)
    if dice.random() < 0.3:
        later["an added column"] = "integer"
        after = [(*row, ("7", 7)) for row in after]
    old, new = MadeTable(f"{name}_a", types, rows), MadeTable(f"{name}_b", later, after)
    return MadePair(old, new, key, has_constraint)


def _row(dice: random.Random, types: dict[str, str]) -> tuple[Value, ...]:
    return tuple(
        NULL if dice.random() < 0.12 else dice.choice(TYPES[kind]) for kind in types.values()
    )


def _changed(
    dice: random.Random,
    names: Sequence[str],
    key: Sequence[str],
    types: dict[str, str],
    row: tuple[Value, ...],
) -> tuple[Value, ...]:
    other = _row(dice, types)
    return tuple(
        new if name not in key and dice.random() < 0.25 else old
        for name, old, new in zip(names, row, other, strict=True)
    )


def _without_faults(
    names: Sequence[str], key: Sequence[str], rows: Sequence[tuple[Value, ...]]
) -> list[tuple[Value, ...]]:
    kept: dict[Any, tuple[Value, ...]] = {}
    for row in rows:
        value = _key(names, key, row)
        if None not in value:
            kept.setdefault(value, row)
    return list(kept.values())


def _key(names: Sequence[str], key: Sequence[str], row: Sequence[Value]) -> tuple[Any, ...]:
    return tuple(row[list(names).index(name)][1] for name in key)


def expected(pair: MadePair, ignored: Sequence[str] = (), tolerance: float = 0.0) -> Expected:
    """Counts what differs, row by row."""
    names = [name for name in pair.before.columns if name not in ignored]
    key = pair.key if not {*pair.key} & {*ignored} else ()
    old, new = (_plain(table, names) for table in (pair.before, pair.after))
    if not key:
        gone, come = Counter(old), Counter(new)
        return Expected(
            len(old), len(new), sum((come - gone).values()), sum((gone - come).values()), None, {}
        )
    places = [names.index(name) for name in key]

    def key_of(row: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(row[place] for place in places)

    counts = [Counter(map(key_of, rows)) for rows in (old, new)]

    def is_told(row: tuple[Any, ...]) -> bool:
        value = key_of(row)
        return None not in value and all(count[value] <= 1 for count in counts)

    first, second = ({key_of(row): row for row in rows if is_told(row)} for rows in (old, new))
    others = [Counter(row for row in rows if not is_told(row)) for rows in (old, new)]
    columns: Counter[str] = Counter()
    changed = 0
    for value in first.keys() & second.keys():
        differing = [
            name
            for name, one, other in zip(names, first[value], second[value], strict=True)
            if _differ(one, other, tolerance if pair.before.columns[name] in _FLOATS else 0.0)
        ]
        columns.update(differing)
        changed += bool(differing)
    return Expected(
        len(old),
        len(new),
        len(second.keys() - first.keys()) + sum((others[1] - others[0]).values()),
        len(first.keys() - second.keys()) + sum((others[0] - others[1]).values()),
        changed,
        dict(columns),
    )


_FLOATS = ("double precision", "real")


def _plain(table: MadeTable, names: Sequence[str]) -> list[tuple[Any, ...]]:
    places = [list(table.columns).index(name) for name in names]
    return [tuple(row[place][1] for place in places) for row in table.rows]


def _differ(one: Any, other: Any, tolerance: float) -> bool:
    if one == other:
        return False
    if not tolerance or any(isinstance(item, str) or item is None for item in (one, other)):
        return True
    return not other - tolerance <= one <= other + tolerance
