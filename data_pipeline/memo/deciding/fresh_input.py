"""What a run would take from outside, and what its mode keeps out, in words.

From outside comes what raw tables load, and what an instance copies from another one.
"""

from collections.abc import Iterable, Mapping

from data_pipeline.instances import project
from data_pipeline.instances.settings.caching_and_kept_versions import MODE_TAG, Validation
from data_pipeline.memo.deciding.decisions import (
    Action,
    Computation,
    Decision,
    Key,
    Known,
    Step,
    input_reason,
    not_taken,
    own_reason,
    version_of,
)


def refusal(
    instance: str,
    decisions: Mapping[str, Decision],
    steps: Iterable[Step],
    known: Mapping[Key, Known],
    validation: Validation,
) -> str | None:
    """Say which assets would take input from outside although the mode rules that out.

    Args:
        instance: The name of the instance of the run.
        decisions: What becomes of the steps.
        steps: The steps.
        known: What the catalogs know.
        validation: The mode; only `assert_no_fresh_input` refuses anything.

    Returns:
        A sentence that names them and the command that takes the input; None without any.
    """
    if validation.mode != "assert_no_fresh_input":
        return None
    actions = {key: decision.action for key, decision in decisions.items()}
    blocked = [
        f"{table} ({owner})"
        for step in steps
        if actions.get(step.key, Action.REUSE) not in (Action.REUSE, Action.SKIP)
        for (owner, table), item in ((item.key, item) for item in step.computations)
        if not item.identity.allow_fresh_input
        and (
            item.identity.takes_outside_input
            or _is_due_copy(item, step, actions[step.key], known, validation)
        )
    ]
    if not blocked:
        return None
    return (
        f"{', '.join(blocked)} would take input from outside, which `{validation.mode}` rules out. "
        f"To take it: {project.command('run', instance, '--fresh')} (or the tag "
        f"`{MODE_TAG}: normal`). What loads from a source system may do so in every mode where it "
        "is declared: outside_input(..., allow_fresh_input=True)."
    )


def kept_out(
    decisions: Mapping[str, Decision],
    steps: Iterable[Step],
    known: Mapping[Key, Known],
    validation: Validation,
) -> str | None:
    """Say in one line which inputs of copies that stay have new data; None where none has.

    Args:
        decisions: What becomes of the steps.
        steps: The steps.
        known: What the catalogs know.
        validation: The mode, which keeps the data out.
    """
    if validation.asks_sources:
        return None
    names = [
        f"`{name}`"
        for step in steps
        if step.key in decisions and decisions[step.key].action is Action.REUSE
        for item in step.computations
        for name in not_taken(item, known, validation)
        if version_of(known, name) is not None
    ]
    if not names:
        return None
    inputs = ", ".join(dict.fromkeys(names))
    return f"input {inputs} has new data that is not taken ({validation.mode})"


def _is_due_copy(
    item: Computation,
    step: Step,
    action: Action,
    known: Mapping[Key, Known],
    validation: Validation,
) -> bool:
    """Whether a copy must be made; if its step runs for others alone, it stays as it is."""
    if not (item.copied and item.takes_rows):
        return False
    if step.reason is not None or action is Action.WAIT:
        return True
    reason = own_reason(item, known.get(item.key), validation)
    return (reason or input_reason(item, known, validation)) is not None
