"""What a memoised run says of what it does and of what it leaves out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from dagster._core.events import EngineEventData

from data_pipeline.caching.decisions import Decision, Step
from data_pipeline.instances.cache_validation import MODE_TAG, Validation
from data_pipeline.tables.run_resources import IDENTITY_METHOD


def fresh_input_refused(name: str, blocked: Sequence[str]) -> str:
    """Says that the mode `assert_no_fresh_input` refuses a run, and how to run it all the same.

    Args:
        name: The instance of the run.
        blocked: What would take input from outside; see `blocked_by_assertion`.
    """
    return (
        f"{', '.join(blocked)} would take input from outside, which `assert_no_fresh_input` rules "
        f"out. To take it: data-pipeline run {name} --fresh (or the tag `{MODE_TAG}: normal`)"
    )


def fresh_input_not_taken(names: Sequence[str], validation: Validation) -> str:
    """Says in one line which inputs have new data that the mode keeps out."""
    inputs = ", ".join(f"`{name}`" for name in names)
    return f"input {inputs} has new data that is not taken ({validation.mode})"


def without_identity(computing: Iterable[Step], problems: Mapping[str, str]) -> Iterator[str]:
    """Says of each resource without a stable identity what that means, and how to give it one.

    Args:
        computing: The steps that compute assets.
        problems: Why resources have none, by key.
    """
    for key, problem in sorted(problems.items()):
        tables = [
            f"`{item.key[1]}`"
            for step in computing
            for item in step.computations
            if key in item.identity.resources
        ]
        yield (
            f"Resource `{key}` has no stable identity, so nothing tells whether it has changed, "
            f"and {', '.join(tables)} never count as unchanged. {problem} Or make the resource a "
            "dg.ConfigurableResource or a frozen dataclass, or give its class a method "
            f"`{IDENTITY_METHOD}()` that returns a plain value, which differs when results would."
        )


def listed(what: str, decisions: Sequence[Decision]) -> str:
    """Lists decisions, one a line, under a heading."""
    lines = "\n".join(f"  {decision}" for decision in decisions)
    return f"{what} ({len(decisions)}):\n{lines}"


def summary(
    executed: int, planned: int, reused: Mapping[str, Decision], computing: Mapping[str, Step]
) -> tuple[str, EngineEventData]:
    """Says what was executed and what was served from the cache, as message and metadata.

    Args:
        executed: The number of steps that were executed.
        planned: The number of steps.
        reused: Why steps were left out.
        computing: The steps that compute assets.
    """
    tables = {
        str(item.key[1]): "; ".join(decision.reasons)
        for key, decision in reused.items()
        if key in computing
        for item in computing[key].computations
    }
    message = f"{executed} of {planned} steps executed; {len(tables)} tables served from the cache"
    return message, EngineEventData(metadata=tables)
