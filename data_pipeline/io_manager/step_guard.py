"""What a process does before a step of a run that another process leads: may it, and for how long.

It refuses to compute what it is not asked for: a worker may have loaded older code than the run was
started with, or have other settings. While it works, it goes by the lease of the run.
"""

import os
import socket
from collections.abc import Iterable, Mapping

from data_pipeline.database.connection import database
from data_pipeline.errors import ConfigurationError
from data_pipeline.identity.computation import (
    Identity,
    identity_of,
    op_context,
    resources_of_run,
)
from data_pipeline.identity.requested_computation import Asked, asked, without_resources
from data_pipeline.identity.upstream import table_of
from data_pipeline.instances import Instance
from data_pipeline.runs.dagster_plan import PlanAtHand, check_versions, needs_leader
from data_pipeline.runs.lease import StepLease, lease_of, not_led
from data_pipeline.runs.step_process import is_started_by_leader, leads_steps
from data_pipeline.store.active_runs.lease_rows import Lease


def begin_steps(instance: Instance, run_id: str, planned: PlanAtHand) -> StepLease | None:
    """Make sure that this process may execute a step, and let it end with the run.

    Args:
        instance: The instance of the run.
        run_id: The run.
        planned: What this process is about to execute.

    Returns:
        What ends the step with its run, to be closed when the step is done; None where no other
        process leads the run by a lease, or where the leader has started this one.

    Raises:
        ConfigurationError: The code or the settings of this process are not those of the run.
        DatabaseError: The leader is gone.
    """
    job, plan, _ = planned
    lease, key = None, ""
    for key in plan.step_keys_to_execute:
        lease = lease_of(database(instance), instance, run_id, _node(key), key)
        if lease is None:
            if needs_leader(job, plan) and not leads_steps():
                raise not_led(instance, run_id, key)
            return None
        if lease.asked is not None:
            _check(key, instance, run_id, planned, lease)
    if lease is None or is_started_by_leader():
        return None
    return StepLease(database(instance), instance, run_id, key, lease.seconds)


def _check(key: str, instance: Instance, run_id: str, planned: PlanAtHand, lease: Lease) -> None:
    wanted: Asked = dict(lease.asked or {})
    found = _found(key, instance, run_id, planned, wanted)
    if is_started_by_leader():  # it has the leader's environment, and objects of its own
        wanted, found = without_resources(wanted), without_resources(found)
    _refuse_other_work(key, instance, wanted, found)


def _found(key: str, instance: Instance, run_id: str, planned: PlanAtHand, wanted: Asked) -> Asked:
    """Return what this process would compute, of what it is asked for."""
    job, plan, config = planned
    step = plan.get_step_by_key(key)
    sees = op_context(job, step.node_handle, config, resources_of_run(job, config, run_id))
    definition = job.asset_layer.get_assets_def_for_node(step.node_handle)
    graph = job.asset_layer.asset_graph
    identities: dict[str, Identity] = {}
    for asset in definition.keys if definition else ():
        name = str(table_of(graph, asset, instance))
        if f"`{name}`" in wanted:
            identities[name] = identity_of(graph.get(asset).to_asset_spec(), sees, instance)
    versions = check_versions(job)
    outputs = [output.properties.asset_check_key for output in step.step_outputs]
    checks = {str(check): versions.get(str(check)) for check in outputs if check is not None}
    evaluated = {name: said for name, said in checks.items() if f"check {name}" in wanted}
    return asked(instance, identities, evaluated)


def _refuse_other_work(step: str, instance: Instance, wanted: Asked, found: Asked) -> None:
    """Refuse a step that this process would not compute as its run means it.

    Args:
        step: The step.
        instance: The instance of the run.
        wanted: What the leader of the run asks for.
        found: What this process has loaded.

    Raises:
        ConfigurationError: The two differ.
    """
    differences = list(_differences(wanted, found))
    if differences:
        raise ConfigurationError(
            f"Step `{step}` of instance `{instance.name}` was not computed: process {os.getpid()} "
            f"on {socket.gethostname()} has loaded other code or settings than the run was started "
            f"with ({'; '.join(differences)}). Restart this worker, or deploy the image of the run "
            "to it, and run again. Nothing was stored."
        )


def _differences(wanted: Asked, found: Asked) -> Iterable[str]:
    for name in sorted(wanted.keys() | found.keys()):
        one, other = wanted.get(name), found.get(name)
        if one is None or other is None:
            yield f"{name}: {'not asked for' if one is None else 'not there'}"
            continue
        for aspect in sorted(one.keys() | other.keys()):
            if one.get(aspect) != other.get(aspect):
                yield f"{aspect} of {name}{_versions(aspect, one, other)}"


def _versions(aspect: str, one: Mapping[str, str | None], other: Mapping[str, str | None]) -> str:
    if aspect != "code":
        return ""
    return f": asked for version {one.get(aspect)}, has {other.get(aspect)}"


def _node(step: str) -> str:
    """Name the node of the asset that a step belongs to."""
    return step.partition(".")[0]
