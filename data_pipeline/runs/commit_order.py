"""In which order the stages of a run commit, and what each still waits for."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass


@dataclass(frozen=True)
class StepStages:
    """The stages, of the instance of the run, that a step writes and reads."""

    written: frozenset[str]
    read: frozenset[str]


class CommitOrder:
    """What is still missing of each stage of a run.

    Stages that read from each other commit together, since neither can go first.

    Args:
        members: What must succeed before a stage commits, by stage: tables or steps.
        steps: The stages that each step writes and reads; others than these are ignored.
    """

    def __init__(
        self, members: Mapping[str, Iterable[str]], steps: Iterable[StepStages] = ()
    ) -> None:
        upstream: defaultdict[str, set[str]] = defaultdict(set)
        for step in steps:
            for stage in step.written:
                # What one step writes belongs together.
                upstream[stage] |= (step.written | step.read) - {stage}
        self._missing = {stage: set(names) for stage, names in members.items()}
        reach = {stage: _reachable(stage, upstream) & members.keys() for stage in members}
        together = {stage: _circle(stage, reach) for stage in members}
        self._before = {
            group: frozenset(other for stage in group for other in reach[stage]) - group
            for group in together.values()
        }
        self._open = sorted(set(together.values()), key=sorted)
        self._committed: set[str] = set()

    @property
    def open(self) -> list[frozenset[str]]:
        """The groups of stages that have not committed."""
        return list(self._open)

    def missing(self, group: Iterable[str]) -> frozenset[str]:
        """Name what a group of stages still waits for, besides other stages."""
        return frozenset(name for stage in group for name in self._missing[stage])

    def done(self, *names: str) -> None:
        """Note that tables or steps have succeeded."""
        for missing in self._missing.values():
            missing.difference_update(names)

    def waits_for(self, group: frozenset[str]) -> frozenset[str]:
        """Name the stages that must commit before a group of stages, and have not."""
        return self._before[group] - self._committed

    def ready(self, late: Collection[frozenset[str]] = ()) -> frozenset[str] | None:
        """Return the next group of stages that can commit; None where there is none.

        Args:
            late: Groups that can, but had to wait for readers, and are passed over.
        """
        for group in self._open:
            if (
                group not in late
                and not self.missing(group)
                and self._before[group] <= self._committed
            ):
                return group
        return None

    def join(self, group: frozenset[str], stage: str) -> None:
        """Let a group of stages commit together with another stage, and with what lies between."""
        joined = group | next(other for other in self._open if stage in other)
        while True:
            found = [item for item in self._open if item <= joined]
            before = frozenset[str]().union(*(self._before[item] for item in found)) - joined
            between = [i for i in self._open if i <= before and self._before[i] & joined]
            if not between:
                break
            joined = joined.union(*between)
        self._before[joined] = before
        self._open = sorted(
            [item for item in self._open if not item & joined] + [joined], key=sorted
        )

    def committed(self, group: frozenset[str]) -> None:
        """Note that a group of stages has committed."""
        self._open.remove(group)
        self._committed |= group

    def given_up(self, group: frozenset[str]) -> None:
        """Note that a group of stages cannot commit; what reads from it cannot either."""
        self._missing[min(group)].add("its commit")


def commit_order(
    computing: Mapping[str, StepStages],
    blocking: Mapping[str, Iterable[str]],
    staged: Iterable[str],
) -> CommitOrder:
    """Return what a run is to commit, and what that waits for.

    Args:
        computing: Its steps that compute, with the stages of each.
        blocking: Its steps of blocking checks, with the stages that each is about.
        staged: The stages of what it takes over from earlier runs.
    """
    members: dict[str, set[str]] = {stage: set() for stage in staged}
    awaited = {key: step.written for key, step in computing.items()}
    for steps in (awaited, blocking):
        for key, stages in steps.items():
            for stage in stages:
                members.setdefault(stage, set()).add(key)
    return CommitOrder(members, computing.values())


def _reachable(stage: str, upstream: Mapping[str, Set[str]]) -> frozenset[str]:
    found: set[str] = set()
    stack = [stage]
    while stack:
        new = upstream.get(stack.pop(), frozenset()) - found
        found |= new
        stack += new
    return frozenset(found)


def _circle(stage: str, reach: Mapping[str, frozenset[str]]) -> frozenset[str]:
    return frozenset({stage, *(other for other in reach[stage] if stage in reach[other])})
