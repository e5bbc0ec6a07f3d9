"""What has become of each step of a run so far."""

from collections.abc import Collection
from typing import TYPE_CHECKING

import dagster as dg

from data_pipeline.memo.run_steps import RunSteps, node_name

if TYPE_CHECKING:
    from data_pipeline.memo.deciding.decisions import Decision


class StepOutcomes:
    """Follows the steps of a run to their ends.

    Args:
        steps: The steps of the run.

    Attributes:
        done: The steps that were executed.
        failed: The steps that failed, or were not executed since others failed.
        reused: Why steps were left out.
        skipped: Why steps could not run, since what they read was not made.
        nothing_to_do: Why steps had nothing to do from the start.
    """

    def __init__(self, steps: RunSteps) -> None:
        self._steps = steps
        self.done: set[str] = set()
        self.failed: set[str] = set()
        self.reused: dict[str, Decision] = {}
        self.skipped: dict[str, Decision] = {}
        self.nothing_to_do: dict[str, Decision] = {}
        # Of the plan, which may have several for one step of ours:
        self._succeeded: set[str] = set()
        self._passed_over: set[str] = set()
        self._tried: set[str] = set()

    @property
    def decided(self) -> set[str]:
        """The steps that need no decision any more."""
        return self.done | self.failed | self.reused.keys() | self.nothing_to_do.keys()

    def is_settled(self, key: str) -> bool:
        """Whether what reads from a step need not wait for it any more."""
        return key in self.done or key in self.reused or key in self.skipped

    def note(self, event: dg.DagsterEvent) -> str | None:
        """Take note of an event; return the step that has ended with it, all parts of it."""
        if event.step_key is None:
            return None
        if event.event_type is dg.DagsterEventType.STEP_SUCCESS:
            self._succeeded.add(event.step_key)
        elif event.event_type is dg.DagsterEventType.STEP_SKIPPED:
            self._passed_over.add(event.step_key)
        else:
            return None
        name = node_name(event.step_key)
        results = self._steps.results.get(name, ())
        return name if results and self._has_ended(results) else None

    def _has_ended(self, results: Collection[str]) -> bool:
        return (self._succeeded | self._passed_over).issuperset(results)

    def has_succeeded(self, key: str) -> bool:
        """Whether all that gives results of a step has succeeded."""
        return self._succeeded.issuperset(self._steps.results[key])

    def is_passed_over(self, key: str) -> bool:
        """Whether Dagster has left out a step.

        Of a step of checks it does so when a single output that it checks was not made.
        """
        return self._passed_over.issuperset(self._steps.results[key])

    def settle(self, wave: Collection[str]) -> tuple[set[str], set[str]]:
        """Take note of what became of a wave: steps that have not succeeded have failed.

        Returns:
            The steps of checks that Dagster has left out and that are to be tried once more, and
            those that it has left out for the second time.
        """
        failed = {key for key in wave if not self._has_ended(self._steps.results[key])}
        left_out = {key for key in wave if key in self._steps.checks and self.is_passed_over(key)}
        self.failed |= failed
        self.done |= set(wave) - failed - left_out - self.skipped.keys()
        self._passed_over.difference_update(*(self._steps.results[key] for key in left_out))
        again, given_up = left_out - self._tried, left_out & self._tried
        self._tried |= left_out
        return again, given_up
