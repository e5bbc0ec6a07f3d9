"""Each kind of user object is described in its own file."""

from pathlib import Path

import pytest

from data_pipeline.commit.user_objects.kinds import KINDS, Kind, files_of, kind_file


def test_each_kind_has_a_place_of_its_own_in_the_order() -> None:
    steps = [kind.step for kind in KINDS.values()]
    assert len(steps) == len(set(steps))


@pytest.mark.parametrize(
    ("comment", "of"),
    [("comment of index", "indexes"), ("comment of constraint", "constraints")],
)
def test_a_comment_is_looked_for_where_its_object_is(comment: str, of: str) -> None:
    assert of in files_of((), KINDS[comment].of)


def test_a_file_is_chosen_by_what_the_walk_came_upon() -> None:
    assert files_of(["pg_policy", "pg_class S", "pg_class i"]) == {"policies", "sequences"}


def test_a_file_says_all_of_its_kinds(tmp_path: Path) -> None:
    file = tmp_path / "things.sql"
    file.write_text(
        "-- kind: thing; step 95; taken off; never left out\n"
        "-- kind: comment of thing; step 96; of thing, index\n"
        "-- where: EXISTS (SELECT FROM things\n"
        "--                WHERE owner = c.oid)\n"
        "SELECT 1 -- all\n"
    )
    found = kind_file(file)
    assert found.kinds == (
        Kind("thing", 95, is_taken_off=True, is_security=True),
        Kind("comment of thing", 96, ("thing", "index")),
    )
    assert (found.where or "").split()[-3:] == ["owner", "=", "c.oid)"]
    assert (found.name, found.query, found.catalog) == ("things", "SELECT 1 -- all\n", None)


def test_a_slip_of_the_pen_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "things.sql"
    file.write_text("-- kind: thing; step 95; take off\nSELECT 1\n")
    with pytest.raises(KeyError, match="take off"):
        kind_file(file)
