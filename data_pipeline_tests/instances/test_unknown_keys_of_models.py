"""An unknown key deep in a specification is answered with the keys that are possible there."""

from pathlib import Path

import pytest

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import load_configuration

_ATTRS = "copy_filtered_input: true, copy_source: full"


@pytest.mark.parametrize(
    ("attrs", "remedy"),
    [
        (
            "sample: {roots: {f: {rate: 1}}, checks: {ks: {wran: 1}}}",
            "unknown key 'wran'. Did you mean 'warn'? Known here: 'warn', 'error'.",
        ),
        (
            "copy_filter_overrides: {raw: {copy_filter_count: 1}}",
            "unknown key 'copy_filter_count'. Did you mean 'copy_filter_cnt'?",
        ),
    ],
)
def test_the_keys_of_the_innermost_mapping_are_named(
    tmp_path: Path, attrs: str, remedy: str
) -> None:
    file = tmp_path / "instances.yaml"
    copies = f"midi: {{instance_id: midi, attrs: {{{_ATTRS}, {attrs}}}}}"
    file.write_text(f"instances:\n  full: {{instance_id: full}}\n  {copies}\n")
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(file)
    assert remedy in str(caught.value)
