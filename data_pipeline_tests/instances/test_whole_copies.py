"""A sample is taken of all rows: what is filtered or sampled itself is refused as a source."""

import re

import pytest

from data_pipeline.errors import ConfigurationError
from data_pipeline_tests.instances.conftest import Load

SAMPLE = "sample: {roots: {%s: {rate: 0.5}}}"
WHOLE = ("", "copy_filter_rate: 1.0", "copy_filter_overrides: {inputs: {copy_filter_rate: 1.0}}")


def chain(*attrs: str) -> str:
    """Gives the configuration of `base` and of `i1`, `i2`, ..., each a copy of the one before."""
    lines = ["instances:", "  base:"]
    for number, own in enumerate(attrs, 1):
        source = f"i{number - 1}" if number > 1 else "base"
        copying = f"copy_filtered_input: true, copy_source: {source}"
        listed = ", ".join(filter(None, [copying, own]))
        lines.append(f"  i{number}: {{attrs: {{{listed}}}}}")
    return "\n".join(lines)


@pytest.mark.parametrize("root", ["orders", "inputs/orders"])
@pytest.mark.parametrize(
    "copies",
    [
        *((item,) for item in WHOLE),
        WHOLE,
        ("copy_filter_overrides: {other: {copy_filter_cnt: 3}, other/x: {copy_filter_rate: 0.1}}",),
        ("copy_filter_cnt: 5, copy_filter_overrides: {inputs: {copy_filter_rate: 1.0}}",),
        ("sample: {roots: {other/orders: {rate: 0.1}}}",),
    ],
)
def test_whole_copies_can_be_sampled(load: Load, copies: tuple[str, ...], root: str) -> None:
    configuration = load(chain(*copies, SAMPLE % root))
    source = configuration.instance(f"i{len(copies)}")
    assert source.keeps_all_rows("inputs", ["orders", "customers"])


@pytest.mark.parametrize(
    ("copy", "root"),
    [
        ("copy_filter_cnt: 5", "orders"),
        ("copy_filter_rate: 0.99", "inputs/orders"),
        ("copy_filter_cnt: 5, copy_filter_overrides: {other: {copy_filter_rate: 1.0}}", "inputs/o"),
        ("copy_filter_overrides: {inputs: {copy_filter_cnt: 5}}", "inputs/orders"),
        ("copy_filter_overrides: {inputs/customers: {copy_filter_cnt: 5}}", "inputs/orders"),
        ("copy_filter_overrides: {inputs/orders: {copy_filter_rate: 0.5}}", "orders"),
        (SAMPLE % "orders", "orders"),
        (SAMPLE % "orders", "inputs/visits"),
        (SAMPLE % "inputs/visits", "inputs/orders"),
        ("sample: {roots: {orders: {}}, size: minimal}", "orders"),
    ],
)
@pytest.mark.parametrize("between", [(), ("",), ("copy_filter_rate: 1", "")])
def test_what_leaves_out_rows_cannot(
    load: Load, file: str, copy: str, root: str, between: tuple[str, ...]
) -> None:
    last = len(between) + 2
    message = (
        f"{file}: instances.i{last}.attrs.copy_source: instance 'i{last}' is a sample, but of the "
        "rows of 'base' it would see only the part that 'i1' has"
    )
    remedy = f"Set copy_source of 'i{last}' to 'base' (samples of the same salt are nested anyhow)"
    with pytest.raises(ConfigurationError, match=re.escape(message)) as caught:
        load(chain(copy, *between, SAMPLE % root))
    assert remedy in str(caught.value)


def test_the_remedy_is_the_nearest_instance_with_all_rows(load: Load) -> None:
    filtered = "copy_filter_cnt: 5"
    with pytest.raises(ConfigurationError, match="Set copy_source of 'i5' to 'i2'"):
        load(chain("", "", filtered, filtered, SAMPLE % "orders"))


def test_a_filter_may_take_a_part_of_anything(load: Load) -> None:
    configuration = load(chain("copy_filter_cnt: 9", SAMPLE.replace("sample", "free") % "orders"))
    assert configuration.instance("i2").copies
    load(chain(SAMPLE % "orders", "copy_filter_rate: 0.1", "copy_filter_cnt: 3"))
