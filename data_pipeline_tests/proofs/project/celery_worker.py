"""A Celery worker of the project, whose steps have the environment of the run launched last."""

import json
import os
from pathlib import Path
from typing import Any

from celery.signals import task_prerun
from dagster_celery.app import app

from data_pipeline_tests.proofs.world import SETTINGS


@task_prerun.connect
def _follow(**_: Any) -> None:
    settings = Path(os.environ["PROOF_CALLS"]).with_name(SETTINGS)
    for name in [name for name in os.environ if name.startswith("PROOF_")]:
        del os.environ[name]
    os.environ.update(json.loads(settings.read_text()))


def work(name: str) -> None:
    """Work on steps until the end, one at a time."""
    broker = os.environ["PROOF_BROKER"]
    app.conf.update(
        broker_url=f"{broker}/0",
        result_backend=f"{broker}/1",
        # What waits at a worker that is killed is lost for an hour.
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
    )
    app.worker_main(["worker", "-n", f"{name}@here", "-c", "1", "-Q", "dagster", "-l", "info"])
