"""In which order the stages of a run commit, for any pipeline and any order of finishing."""

from collections.abc import Iterator
from random import Random

from hypothesis import assume, given
from hypothesis import strategies as st

from data_pipeline.runs.commit_order import CommitOrder, StepStages

STAGES = "abcde"


def step(written: str, read: str = "") -> StepStages:
    return StepStages(frozenset(written), frozenset(read))


def groups(order: CommitOrder) -> Iterator[str]:
    """Commits all that is ready."""
    while group := order.ready():
        order.committed(group)
        yield "".join(sorted(group))


def test_a_stage_is_ready_with_its_last_member() -> None:
    order = CommitOrder({"a": ["a/1", "a/2"]}, [step("a")])
    order.done("a/2")
    assert order.ready() is None
    assert order.missing("a") == {"a/1"}
    order.done("a/1")
    assert list(groups(order)) == ["a"]
    assert order.open == []


def test_a_stage_waits_for_those_that_it_reads_from() -> None:
    order = CommitOrder({"a": ["1"], "b": ["2"]}, [step("b", "a"), step("a")])
    order.done("2")
    assert order.ready() is None
    assert order.waits_for(frozenset("b")) == {"a"}
    order.done("1")
    assert list(groups(order)) == ["a", "b"]


def test_a_stage_waits_for_one_behind_a_stage_that_the_run_does_not_write() -> None:
    order = CommitOrder({"a": ["1"], "c": ["3"]}, [step("b", "a"), step("c", "b")])
    order.done("3")
    assert order.ready() is None


def test_stages_that_are_only_read_are_not_waited_for() -> None:
    order = CommitOrder({"b": ["1"]}, [step("b", "a")])
    order.done("1")
    assert list(groups(order)) == ["b"]


def test_stages_that_read_from_each_other_go_together() -> None:
    order = CommitOrder({"a": ["1"], "b": ["2"], "c": ["3"]}, [step("b", "a"), step("a", "b")])
    order.done("1", "3")
    assert list(groups(order)) == ["c"]
    order.done("2")
    assert list(groups(order)) == ["ab"]


def test_what_one_step_writes_goes_together() -> None:
    order = CommitOrder({"a": ["1"], "b": ["1"]}, [step("ab")])
    order.done("1")
    assert list(groups(order)) == ["ab"]


def test_what_reads_from_a_stage_that_could_not_commit_does_not_commit_either() -> None:
    order = CommitOrder({"a": ["1"], "b": ["2"], "c": ["3"]}, [step("b", "a")])
    order.done("1", "2", "3")
    order.given_up(frozenset("a"))
    assert list(groups(order)) == ["c"]
    assert order.open == [frozenset("a"), frozenset("b")]


def test_what_waits_for_readers_is_passed_over() -> None:
    order = CommitOrder({"a": ["1"], "b": ["2"], "c": ["3"]}, [step("c", "a")])
    order.done("1", "2", "3")
    assert order.ready([frozenset("a")]) == frozenset("b")
    assert order.ready([frozenset("a"), frozenset("b")]) is None


subsets = st.sets(st.sampled_from(STAGES)).map(frozenset)
some = st.lists(st.builds(StepStages, subsets.filter(bool), subsets), max_size=8)


@given(some, st.randoms(use_true_random=False))
def test_everything_commits_once_in_whatever_order_steps_finish(
    steps: list[StepStages], random: Random
) -> None:
    order = of(steps)
    names = [str(number) for number in range(len(steps))]
    random.shuffle(names)
    committed = []
    for name in names:
        order.done(name)
        committed += groups(order)
    written = frozenset[str]().union(*(item.written for item in steps))
    assert sorted("".join(committed)) == sorted(written)


@given(some, st.data())
def test_no_stage_commits_before_what_it_reads_or_without_what_belongs_to_it(
    steps: list[StepStages], data: st.DataObject
) -> None:
    order = of(steps)
    done = data.draw(st.sets(st.sampled_from(range(len(steps)))) if steps else st.just(set()))
    order.done(*map(str, done))
    committed: set[str] = set()
    while group := order.ready():
        order.committed(group)
        committed |= group
    written = frozenset[str]().union(*(item.written for item in steps))
    for number, item in enumerate(steps):
        if committed & item.written:
            assert number in done
            assert item.written <= committed
            assert item.read & written <= committed


@given(some)
def test_stages_go_alone_where_they_can(steps: list[StepStages]) -> None:
    # One step a stage that reads from earlier letters only: there is no circle.
    steps = [
        StepStages(frozenset([stage]), frozenset(s for s in item.read if s < stage))
        for item in steps
        for stage in item.written
    ]
    assume(steps)
    order = of(steps)
    order.done(*map(str, range(len(steps))))
    assert all(len(group) == 1 for group in groups(order))


def of(steps: list[StepStages]) -> CommitOrder:
    """Gives the order for steps that are named by their numbers."""
    members: dict[str, list[str]] = {}
    for number, item in enumerate(steps):
        for stage in item.written:
            members.setdefault(stage, []).append(str(number))
    return CommitOrder(members, steps)


def test_a_stage_that_joins_another_takes_along_what_lies_between() -> None:
    members = {name: [name] for name in "abcde"}
    steps = [step("a"), step("b", "a"), step("c", "b"), step("d", "a"), step("e", "c")]
    order = CommitOrder(members, steps)
    order.done(*"abd")
    assert order.ready() == frozenset("a")
    order.join(frozenset("a"), "c")
    assert order.ready() is None
    assert sorted(map(sorted, order.open)) == [["a", "b", "c"], ["d"], ["e"]]
    order.done(*"ce")
    assert list(groups(order)) == ["abc", "d", "e"]


def test_a_stage_joins_one_that_does_not_read_from_it() -> None:
    members = {name: [name] for name in "abc"}
    order = CommitOrder(members, [step("a"), step("b", "c"), step("c")])
    order.done(*"ab")
    order.join(frozenset("a"), "b")
    assert order.waits_for(frozenset("ab")) == {"c"}
    order.done("c")
    assert list(groups(order)) == ["c", "ab"]
