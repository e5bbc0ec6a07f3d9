"""The lines that a run prints as it happens: a table made, a check that fails, an error's place."""

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import dagster as dg

from data_pipeline.instances import project
from data_pipeline.memo.run_messages import STEPS_OF_RUN, is_ours, told

PROGRESS = "progress"
_MOST_LINES = 6


class _Lines(logging.Handler):
    """Prints what a run did, as it happens."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the lines of one record, if it has any to show."""
        for line in _lines(record):
            click.echo(line)


def _lines(record: logging.LogRecord) -> Iterator[str]:
    meta: Mapping[str, Any] = getattr(record, "dagster_meta", {})
    event: dg.DagsterEvent | None = meta.get("dagster_event")
    instance = f"{meta.get('job_name')}"
    if event is None:
        if record.levelno >= logging.INFO:
            message = meta.get("orig_message", record.getMessage())
            yield click.style(f"  {instance}  {_shortened(message)}", dim=True)
    elif event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
        materialization = event.step_materialization_data.materialization
        key = materialization.asset_key.to_user_string()
        yield f"✓ {instance}  {key:<40} {_facts(materialization.metadata)}"
    elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        evaluation = event.asset_check_evaluation_data
        if not evaluation.passed:
            key = evaluation.asset_key.to_user_string()
            why = evaluation.description or "has not passed"
            text = f"! {instance}  {key}: check {evaluation.check_name}: {why}"
            yield click.style(text, fg="yellow")
    elif event.event_type is dg.DagsterEventType.ENGINE_EVENT:
        if STEPS_OF_RUN in event.engine_event_data.metadata:
            yield click.style(f"  {instance}  {event.message}", dim=True)
    elif event.event_type is dg.DagsterEventType.STEP_FAILURE:
        reason = _reason(event.step_failure_data.error) + _place(event.step_failure_data.error)
        yield click.style(f"✗ {instance}  {event.step_key}: {reason}", fg="red")
    elif event.event_type is dg.DagsterEventType.RUN_FAILURE:
        failure = event.job_failure_data
        if failure.error and failure.first_step_failure_event is None:
            # Outside of its steps: nothing may be run, or a stage could not be committed.
            yield click.style(f"✗ {instance}  {_reason(failure.error)}", fg="red")


def _reason(error: Any) -> str:
    return told(error).message.strip() if error else ""


def _place(error: Any) -> str:
    """Name the line of the project, if any, in which an error that is none of ours came up."""
    cause = told(error) if error else None
    root = project.root()
    if cause is None or root is None or is_ours(cause):
        return ""
    for frame in reversed(cause.stack):
        found = re.match(r'\s*File "(?P<file>[^"]+)", line (?P<line>\d+)', frame)
        file = Path(found["file"]) if found else None
        if file and file.is_relative_to(root) and "site-packages" not in file.parts:
            return f" ({file.relative_to(root)}, line {found['line']})" if found else ""
    return ""


def _shortened(message: str) -> str:
    lines = message.splitlines()
    more = len(lines) - _MOST_LINES
    return "\n".join([*lines[:_MOST_LINES], f"  … and {more} more"] if more > 0 else lines)


def _facts(metadata: Mapping[str, dg.MetadataValue[Any]]) -> str:
    facts = []
    if "dagster/row_count" in metadata:
        facts.append(f"{metadata['dagster/row_count'].value:>9,} rows")
    if "type" in metadata:
        facts.append(str(metadata["type"].value).rsplit(".", 1)[-1])
    if "seconds" in metadata:
        facts.append(f"{metadata['seconds'].value:.2f} s")
    return "  ".join(facts)


def _logger(_context: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.Logger(PROGRESS, level=logging.DEBUG)
    logger.addHandler(_Lines())
    return logger


progress_logger = dg.LoggerDefinition(
    _logger, description="A line for each table that a run makes."
)
