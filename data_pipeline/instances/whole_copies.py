"""Which copies have all rows: only these, and what loads for itself, can be sampled from."""

from collections.abc import Callable, Collection

from data_pipeline.instances.instance import Instance


def thinned_by(
    source: Instance, stage: str, tables: Collection[str] | None = None
) -> Instance | None:
    """Return the instance in a chain of copies that leaves out rows of a stage, None if none does.

    Of several it is the last one: what that copies from has all rows.

    Args:
        source: Where the chain begins; it leads to the instance that loads for itself.
        stage: A stage of input tables.
        tables: Its tables; None where they are not known.
    """
    return _last(source, lambda item: not item.keeps_all_rows(stage, tables))


def thinned_for(source: Instance, root: str) -> Instance | None:
    """Return the same for the stage of a root of a sample, as far as the configuration tells.

    Args:
        source: Where the chain begins.
        root: The root, as `table` or `stage/table`. In which stages there is a `table`, only the
            assets say: `thinned_by` decides then.
    """
    stage, _, table = root.rpartition("/")
    if stage:
        return thinned_by(source, stage)
    return _last(source, lambda item: _thins_somewhere(item, table))


def reason_and_remedy(instance: Instance, thin: Instance) -> tuple[str, str]:
    """Return why an instance cannot sample from its source, and what to do, as sentences.

    Args:
        instance: The instance that samples.
        thin: The instance in its chain of sources that leaves out rows.
    """
    whole = thin.source.name if thin.source else thin.name
    what = (
        f"instance '{instance.name}' is a sample, but of the rows of '{whole}' it would see only "
        f"the part that '{thin.name}' has (by its `sample` or `copy_filter_...`): inclusion "
        "probabilities would be wrong"
    )
    remedy = (
        f"Set copy_source of '{instance.name}' to '{whole}' (samples of the same salt are nested "
        f"anyhow), or let '{thin.name}' copy all rows of the stage."
    )
    return what, remedy


def _last(source: Instance, thins: Callable[[Instance], bool]) -> Instance | None:
    if source.source is None:
        return None
    return _last(source.source, thins) or (source if thins(source) else None)


def _thins_somewhere(instance: Instance, table: str) -> bool:
    """Whether a copy leaves out rows wherever a table of this name may be, or may be taken to."""
    sampled = instance.sample.roots if instance.sample else ()
    if any("/" not in root for root in sampled):
        return True  # names without a stage stand for any
    overrides = instance.copy_filter_overrides
    if any(key.endswith(f"/{table}") and not overrides[key].keeps_all_rows for key in overrides):
        return True
    others = any(keep.keeps_all_rows for keep in overrides.values())
    return not (others or instance.copy_filter("").keeps_all_rows)
