"""What a memoised run says of what it does and of what it leaves out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from data_pipeline.dagster_internals import EngineEventData
from data_pipeline.identity.run_resources import IDENTITY_METHOD
from data_pipeline.memo.decisions import Decision, Step


def without_identity(computing: Iterable[Step], problems: Mapping[str, str]) -> Iterator[str]:
    """Say of each resource without a stable identity what that means, and how to give it one.

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
    """List decisions, one a line, under a heading."""
    lines = "\n".join(f"  {decision}" for decision in decisions)
    return f"{what} ({len(decisions)}):\n{lines}"


def summary(
    executed: int, planned: int, reused: Mapping[str, Decision], computing: Mapping[str, Step]
) -> tuple[str, EngineEventData]:
    """Say what was executed and what was served from the cache, as message and metadata.

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
