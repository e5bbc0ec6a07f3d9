"""A logger that shows a run as a line for each table, instead of a debug log.

Choose it by run configuration: `loggers: {progress: {}}`.
"""

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import click
import dagster as dg

PROGRESS = "progress"
_MOST_LINES = 6


class _Lines(logging.Handler):
    """Prints what a run did, as it happens."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints the lines of one record, if it has any to show."""
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
            text = f"! {instance}  {key}: check {evaluation.check_name}: {evaluation.description}"
            yield click.style(text, fg="yellow")
    elif event.event_type is dg.DagsterEventType.STEP_FAILURE:
        reason = _reason(event.step_failure_data.error)
        yield click.style(f"✗ {instance}  {event.step_key}: {reason}", fg="red")
    elif event.event_type is dg.DagsterEventType.RUN_FAILURE and event.job_failure_data.error:
        # It failed outside its steps: nothing may be run, or a stage could not be committed.
        yield click.style(f"✗ {instance}  {_reason(event.job_failure_data.error)}", fg="red")


def _reason(error: Any) -> str:
    cause = error.cause or error if error else None
    return cause.message.strip() if cause else ""


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
