"""Which steps of a run have something to do, and why: a decision from what the catalog knows."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from heapq import heapify, heappop, heappush
from typing import Any

from data_pipeline.database.identifiers import StageTable
from data_pipeline.identity.change_reasons import change
from data_pipeline.identity.computation import Identity
from data_pipeline.identity.increment_restarts import ADDS, FROM_START, reason_to_start
from data_pipeline.instances.settings.caching_and_kept_versions import Validation
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.sliced_tables import SliceBounds

Key = tuple[str, StageTable]
"""An asset of an instance: instance id, and stage and table."""


class Action(Enum):
    """What becomes of a step."""

    RUN = "run"
    REUSE = "up to date"
    WAIT = "not decided until what it reads is computed"
    SKIP = "not run, since what it reads was not made"


@dataclass(frozen=True)
class Computation:
    """One asset that a step would compute.

    Attributes:
        key: The asset, on its instance.
        identity: What its result depends on, besides its inputs.
        inputs: The assets that it reads, each on its instance.
        copied: Those of them that are raw tables of an instance that its own copies from, or the
            input tables in their place.
        takes_rows: Whether it takes rows of these, or only looks at them.
        copies: Whether its step copies anything.
        sliced: Those of the inputs that are tables with slices, of which it reads all.
        bounds: Which rows belong to it, of a slice of a table; None: it is a whole one.
        lost: Says why what its catalog row speaks of cannot be used; None where it can.
    """

    key: Key
    identity: Identity
    inputs: Sequence[Key] = ()
    copied: frozenset[Key] = frozenset()
    takes_rows: bool = True
    copies: bool = False
    sliced: frozenset[Key] = frozenset()
    bounds: SliceBounds | None = None
    lost: Callable[[CatalogRow], str | None] = field(default=lambda row: None, compare=False)


@dataclass(frozen=True)
class Step:
    """One step of a run: the assets that it computes together.

    Attributes:
        key: The step.
        computations: Its assets.
        reason: Why it must run whatever is known of its assets; None where it need not.
    """

    key: str
    computations: Sequence[Computation]
    reason: str | None = None


@dataclass(frozen=True)
class Known:
    """What the database knows of an asset.

    Attributes:
        row: Its catalog row, with the version of the data that is there now.
        exists: Whether its relation or file is there.
        change: What somebody did to it by hand, or became of its file; None where it is intact.
        state: What identifies its relation now; None for a blob.
    """

    row: CatalogRow
    exists: bool
    change: str | None = None
    state: Mapping[str, Any] | None = None

    @property
    def is_intact(self) -> bool:
        """Whether it is what was committed."""
        return self.exists and self.change is None


@dataclass(frozen=True)
class Decision:
    """What becomes of a step, and why."""

    step: str
    action: Action
    reasons: Sequence[str] = field(default_factory=tuple)

    def __str__(self) -> str:
        return f"{self.step}: {'; '.join(dict.fromkeys(self.reasons))}"


class Decisions:
    """The decisions of a run: what it does has only that decided anew which it can affect.

    Args:
        steps: All steps, each after those that it reads from.
        validation: Which results may be reused.
    """

    def __init__(self, steps: Iterable[Step], validation: Validation) -> None:
        self._steps = {step.key: step for step in steps}
        self._place = {key: place for place, key in enumerate(self._steps)}
        self._validation = validation
        self._decided: dict[str, Decision] = {}
        self._pending: dict[Key, Action] = {}
        self._readers: dict[Key, set[str]] = {}
        self._is_begun = False

    def update(self, known: Mapping[Key, Known], settled: Collection[str]) -> dict[str, Decision]:
        """Return the decisions for the steps that are not settled, in their order.

        Args:
            known: What the catalogs know now. Where that has changed for other assets than those
                of newly settled steps, begin with a new object.
            settled: Steps about which there is nothing to decide any more.
        """
        if not self._is_begun:
            self._is_begun = True
            self._readers = self._who_reads(known)
            anew = [place for key, place in self._place.items() if key not in settled]
        else:
            gone = [key for key in self._decided if key in settled]
            anew = [self._place[reader] for key in gone for reader in self._settle(key)]
        heapify(anew)
        keys = list(self._steps) if anew else []
        last = -1
        while anew:
            place = heappop(anew)
            if place == last or keys[place] in settled:
                continue
            last = place
            if self._decide(keys[place], known):
                for reader in self._readers_of(keys[place]):
                    heappush(anew, self._place[reader])
        return self._decided

    def _decide(self, key: str, known: Mapping[Key, Known]) -> bool:
        """Decide for a step; tells whether another thing becomes of it than was thought."""
        step, before = self._steps[key], self._decided.get(key)
        decision = _decision(step, known, self._validation, self._pending)
        decision = _if_made(step, decision, known, self._pending)
        self._decided[key] = decision
        for item in step.computations:
            if decision.action is Action.REUSE:
                self._pending.pop(item.key, None)
            else:
                self._pending[item.key] = decision.action
        return before is not None and before.action is not decision.action

    def _settle(self, key: str) -> set[str]:
        """Take a step off; gives those that read what it has made."""
        del self._decided[key]
        for item in self._steps[key].computations:
            self._pending.pop(item.key, None)
        return self._readers_of(key)

    def _readers_of(self, key: str) -> set[str]:
        made = [item.key for item in self._steps[key].computations]
        return {reader for item in made for reader in self._readers.get(item, ())} - {key}

    def _who_reads(self, known: Mapping[Key, Known]) -> dict[Key, set[str]]:
        readers: dict[Key, set[str]] = {}
        for step in self._steps.values():
            for item in step.computations:
                recorded = known[item.key].row.inputs if item.key in known else ()
                for key in {*item.inputs, *map(key_of, recorded)}:
                    readers.setdefault(key, set()).add(step.key)
        return readers


def _decision(
    step: Step,
    known: Mapping[Key, Known],
    validation: Validation,
    pending: Mapping[Key, Action],
) -> Decision:
    reasons = [] if step.reason is None else [step.reason]
    waits = []
    for item in step.computations:
        found = known.get(item.key)
        own = own_reason(item, found, validation)
        if own is None and found is not None:
            own = item.lost(found.row)
        if own is not None:
            reasons += [own, *_growth(item, known, validation, own)]
            continue
        unsettled = [key for key in item.inputs if pending.get(key, Action.SKIP) is not Action.SKIP]
        if unsettled:
            waits.append(f"input {_listed(unsettled)} is computed before")
        elif (changed := input_reason(item, known, validation)) is not None:
            reasons += [changed, *_growth(item, known, validation, changed)]
    if reasons:
        return Decision(step.key, Action.RUN, reasons)
    if waits:
        return Decision(step.key, Action.WAIT, waits)
    return Decision(step.key, Action.REUSE, [_up_to_date(known[i.key]) for i in step.computations])


def _growth(
    item: Computation, known: Mapping[Key, Known], validation: Validation, reason: str
) -> list[str]:
    """Say, of a table that grows by increments, whether it does or is built from the start."""
    found = known.get(item.key)
    if found is None or not found.row.increment:
        return []
    if not found.is_intact:
        return [FROM_START]

    def row(name: str) -> CatalogRow | None:
        other = known.get(key_of(name))
        # What no run has made is known to Dagster alone.
        return other.row if other and other.row.run_id else None

    inputs = [f"{instance}/{table}" for instance, table in item.inputs]
    name = item.key[1].name
    why = reason_to_start(name, item.identity, found.row, inputs, row, validation)
    if why is None:
        return [ADDS]
    return [FROM_START if why == reason else f"{FROM_START}: {why}"]


def _if_made(
    step: Step, decision: Decision, known: Mapping[Key, Known], pending: Mapping[Key, Action]
) -> Decision:
    """Return the decision for a step, which cannot run if something that it reads was not made."""
    own = {item.key for item in step.computations}
    inputs = {key for item in step.computations for key in item.inputs} - own
    reasons = not_made(inputs, known, pending)
    sliced = {key for item in step.computations for key in item.sliced}
    if none := sorted((k for k in sliced if k not in known or not known[k].exists), key=str):
        reasons.append(f"not run, since no slice of {_listed(none)} is built yet")
    if decision.action is Action.REUSE or not reasons:
        return decision
    return Decision(step.key, Action.SKIP, reasons)


def not_made(
    inputs: Iterable[Key], known: Mapping[Key, Known], pending: Mapping[Key, Action]
) -> list[str]:
    """Say which inputs there are not, so that what reads them cannot run.

    Args:
        inputs: The inputs.
        known: What the catalogs know.
        pending: What becomes of those that are not up to date.
    """
    keys = sorted(inputs, key=str)
    absent = [k for k in keys if k not in pending and k in known and known[k].row.is_absent]
    skipped = [key for key in keys if pending.get(key) is Action.SKIP]
    found = ((absent, "was not made"), (skipped, "was not run"))
    return [f"not run, since {_listed(keys)} {what}" for keys, what in found if keys]


def own_reason(item: Computation, found: Known | None, validation: Validation) -> str | None:
    """Say why an asset must be computed whatever its inputs are; None where it need not be."""
    if found is None:
        return "not built yet"
    if not found.exists:
        what = "file of blob" if found.row.kind == "blob" else found.row.kind
        return f"{what} `{found.row.table}` was dropped"
    if found.change is not None:
        return found.change
    if validation.mode == "force_cache_invalid":
        return "everything is computed (force_cache_invalid)"
    before = Identity.from_row(found.row)
    return change(
        item.key[1].name,
        item.identity,
        before,
        code=not validation.ignore_code_version,
        source=validation.asks_sources or item.identity.allow_fresh_input,
        fresh=validation.mode == "force_fresh_input",
    )


def input_reason(
    item: Computation, known: Mapping[Key, Known], validation: Validation
) -> str | None:
    """Say which input has other data than the asset was computed from; None where none has."""
    recorded = known[item.key].row.inputs
    names = {f"{instance}/{table}": (instance, table) for instance, table in item.inputs}
    if new := sorted(names.keys() - recorded.keys()):
        return f"reads {_quoted(new)}, which it did not before"
    kept_out = not_taken(item, known, validation)
    if changed := [name for name in _with_new_data(item, known) if name not in kept_out]:
        return f"input {_quoted(changed)} has new data"
    # The fingerprint of its source, where it declares one, speaks for external inputs too.
    unknown = [name for name, version in recorded.items() if version is None]
    if unknown and validation.asks_sources and item.identity.source is None:
        return f"input {_quoted(unknown)} has no version, and the asset declares no fingerprint"
    return None


def not_taken(item: Computation, known: Mapping[Key, Known], validation: Validation) -> list[str]:
    """Name the inputs with new data that the mode keeps out: those that are copied.

    What an instance copies from another one is input from outside to it. Inputs that are recorded,
    but are none of Dagster's, were copied together with these; where a step copies nothing, its
    code read them by itself.
    """
    if validation.asks_sources or item.identity.allow_fresh_input or not item.copies:
        return []
    own = f"{item.key[0]}/"
    read = {f"{key[0]}/{key[1]}" for key in item.inputs if key not in item.copied}
    changed = _with_new_data(item, known)
    return [name for name in changed if name not in read and not name.startswith(own)]


def _with_new_data(item: Computation, known: Mapping[Key, Known]) -> list[str]:
    recorded = known[item.key].row.inputs
    return [name for name, version in recorded.items() if version_of(known, name) != version]


def version_of(known: Mapping[Key, Known], name: str) -> str | None:
    """Return the data version of `instance/stage/table`; None where it is not there."""
    found = known.get(key_of(name))
    return found.row.data_version if found and found.exists else None


def key_of(name: str) -> Key:
    """Return the asset of the name `instance/stage/table`."""
    instance, stage, table = name.split("/", 2)
    return instance, StageTable(stage, table)


def _up_to_date(found: Known) -> str:
    row = found.row
    when = f"{row.committed_at:%Y-%m-%d %H:%M:%S}" if row.committed_at else "before"
    what = "not made" if row.is_absent else "unchanged"
    return f"`{row.table}` {what} since {when}"


def _listed(keys: Iterable[Key]) -> str:
    return _quoted(str(table) for _, table in keys)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name.replace('//', '/').lstrip('/')}`" for name in names)
