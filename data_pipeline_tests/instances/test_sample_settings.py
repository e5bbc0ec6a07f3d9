"""The specification of a sample among the attrs of an instance."""

import re

import pytest

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances.settings.limits_of_sample_checks import Threshold
from data_pipeline.instances.settings.sample import Budget, CoverSettings, RootSettings
from data_pipeline_tests.instances.conftest import Load

COPIES = "copy_filtered_input: true, copy_source: full"


def text(sample: str) -> str:
    return f"instances: {{full: , midi: {{attrs: {{{COPIES}, sample: {sample}}}}}}}"


def test_defaults(load: Load) -> None:
    sample = load(text("{roots: {flights: {rate: 0.05}}}")).instance("midi").sample
    assert sample is not None
    assert sample.roots == {"flights": RootSettings(rate=0.05)}
    assert sample.cover == CoverSettings()
    assert (sample.salt, sample.hubs, sample.small_table_rows) == (0, "auto", 5000)
    assert not sample.is_minimal


def test_everything_can_be_said(load: Load) -> None:
    said = (
        "{roots: {flights: {rows: 100}, inputs/planes: {rate: 1}}, salt: -3, hubs: 40, "
        "cover: {columns: {flights: [dest]}, predicates: {flights: {late: dep_time > 2300}}}, "
        "small_table_rows: 10, pins: {flights: [{flight_id: 4711}]}}"
    )
    sample = load(text(said)).instance("midi").sample
    assert sample is not None
    assert sample.cover.columns == {"flights": ("dest",)}
    assert sample.cover.predicates == {"flights": {"late": "dep_time > 2300"}}
    assert sample.pins == {"flights": ({"flight_id": 4711},)}
    assert sample.hubs == 40


def test_off_is_what_yaml_reads_as_false(load: Load) -> None:
    said = "{roots: {flights: {rate: 0.05}}, cover: off, hubs: off}"
    sample = load(text(said)).instance("midi").sample
    assert sample is not None
    assert sample.cover.covers_nothing
    assert sample.hubs == "off"


def test_a_minimal_sample_needs_no_rate(load: Load) -> None:
    sample = load(text("{roots: {flights: {}}, size: minimal}")).instance("midi").sample
    assert sample is not None
    assert sample.is_minimal


def test_a_size_takes_units_of_bytes(load: Load) -> None:
    sample = load(text("{roots: {flights: {}}, size: {bytes: 1.5GB}}")).instance("midi").sample
    assert sample is not None
    assert sample.size == Budget(bytes=3 * 2**29)


def test_an_instance_that_loads_for_itself_has_no_sample(load: Load) -> None:
    said = "instances: {full: {attrs: {sample: {roots: {flights: {rate: 0.1}}}}}}"
    assert load(said).instance("full").sample is None


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ("{}", "sample: name at least one root"),
        ("{roots: {flights: {}}}", "the root 'flights' needs a rate or a number of rows"),
        (
            "{roots: {flights: {rate: 0}}}",
            "sample.roots.flights.rate: 0 does not fit: input should",
        ),
        ("{roots: {flights: {rate: 10 %}}}", "rate: '10 %' does not fit: input should be a valid "),
        ("{roots: {flights: {rate: 10%}}}", "unable to parse string as a number. Write 0.1."),
        (
            "{roots: {f: {rate: 1}}, cover: {predicates: {f: a > 1}}}",
            "cover.predicates.f: 'a > 1' does not fit: a mapping of keys is needed. Write 'name",
        ),
        (
            "{roots: {f: {rate: 1}}, checks: {ks: high}}",
            "checks.ks: 'high' does not fit: write off, a number that is an error to exceed, or",
        ),
        (
            "{roots: {flights: {rate: 1.5}}}",
            "roots.flights.rate: 1.5 does not fit: input should be",
        ),
        ("{roots: {flights: {rate: yes}}}", "roots.flights.rate: True does not fit: a number is"),
        ("{roots: {flights: {rows: 0}}}", "roots.flights.rows: 0 does not fit: input should be gr"),
        ("{roots: {flights: {rows: 1, rate: 1}}}", "rate and rows exclude each other"),
        ("{roots: {a/b/c: {rows: 1}}}", "'stage/table'"),
        (
            "{roots: {flights: {rates: 1}}}",
            "sample.roots.flights: unknown key 'rates'. Did you mean 'rate'?",
        ),
        ("{rots: {flights: {rate: 1}}}", "sample: unknown key 'rots'. Did you mean 'roots'?"),
        ("{roots: {f: {rate: 1}}, cover: all}", "write auto, off, or a mapping with 'columns'"),
        (
            "{roots: {f: {rate: 1}}, cover: {colums: {}}}",
            "unknown key 'colums'. Did you mean 'columns'?",
        ),
        (
            "{roots: {f: {rate: 1}}, hubs: some}",
            "sample.hubs: 'some' does not fit: write auto, off",
        ),
        (
            "{roots: {f: {rate: 1}}, salt: x}",
            "sample.salt: 'x' does not fit: input should be a val",
        ),
        (
            "{roots: {f: {rate: 1}}, pins: {f: {time_hour: 1}}}",
            "pins.f: a list is needed, with a mapping for each row, as in [{time_hour: ...}]",
        ),
        (
            "{roots: {f: {rate: 1}}, pins: {f: 7}}",
            "7 does not fit: a list is needed, with a mapping for each row, as in [{column: ...}]",
        ),
        (
            "{roots: {f: {rate: 1}}, pins: {f: [7]}}",
            "sample.pins.f.0: a mapping of keys is needed. Write 'name: value'",
        ),
        (
            "{roots: {f: {rate: 1}}, cover: {columns: {f: dest}}}",
            "'dest' does not fit: a list of columns is needed, as in [column]",
        ),
        (
            "{roots: {f: {rate: 1}}, whole: g}",
            "whole: 'g' does not fit: a list of tables",
        ),
        ("{roots: {f: {rate: 1}}, whole: {g: x}}", "sample.whole: a list of tables is needed"),
        ("{roots: {f: {rate: 1}}, whole: [a/b/c]}", "'stage/table'"),
        ("{roots: {f: {rate: 1}}, cut: [g]}", "cut.0: 'g' is no reference: write table.column"),
        ("{roots: {f: {rate: 1}}, cut: {g: h}}", "sample.cut: a list of referring columns"),
        ("{roots: {f: {rate: 1}}, where: {f: ' '}}", "where.f: ' ' does not fit: an SQL"),
        ("{roots: {f: {rate: 1}}, mask: {f: {c: ''}}}", "mask.f.c: '' does not fit: an SQL"),
        (
            "{roots: {f: {rate: 1}}, follow: {g: 7}}",
            "follow.g: 7 does not fit: name the table",
        ),
        ("{roots: {f: {rate: 1}}, size: tiny}", "sample.size: 'tiny' does not fit: write minimal"),
        ("{roots: {f: {}}, size: {rows: 1, share: 1}}", "give one of rows, bytes and share"),
        ("{roots: {f: {}}, size: {row: 1}}", "unknown key 'row'. Did you mean 'rows'?"),
        ("{roots: {f: {}}, size: {bytes: 2 GiB}}", "write a number of bytes, or one with kB"),
        ("{roots: {f: {rate: 1}}, size: {rows: 5}}", "a size decides on the rates of roots"),
    ],
)
def test_wrong_specifications(load: Load, sample: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)) as caught:
        load(text(sample))
    assert "instances.midi.attrs" in str(caught.value)


def test_thresholds_of_the_report(load: Load) -> None:
    checks = "{ks: 2, estimates: {warn: 3}, uncovered: off}"
    said = f"{{roots: {{f: {{rate: 1}}}}, report: off, checks: {checks}}}"
    sample = load(text(said)).instance("midi").sample
    assert sample is not None
    assert sample.report == "off"
    assert sample.checks.ks == Threshold(error=2)
    assert sample.checks.estimates == Threshold(warn=3)
    assert sample.checks.uncovered == Threshold()
    assert sample.checks.reference_violations == Threshold(error=0)


@pytest.mark.parametrize(
    ("checks", "message"),
    [
        ("{kss: 1}", "checks: unknown key 'kss'. Did you mean 'ks'?"),
        ("{ks: {warn: much}}", "checks.ks.warn"),
        ("{ks: {alarm: 2}}", "checks.ks.alarm"),
    ],
)
def test_thresholds_that_mean_nothing(load: Load, checks: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        load(text(f"{{roots: {{f: {{rate: 1}}}}, checks: {checks}}}"))
