"""Samples are drawn anew when the code that chooses rows changes, and only then."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_pipeline.sampling.code_identity import _definitions, sampling_version

FUNCTION = b"def keep(rate):\n    return rate > 0.5\n"
SAY = "from data_pipeline.sampling.code_identity import sampling_version; print(sampling_version())"


@pytest.mark.parametrize(
    "text",
    [
        b"# A comment.\n" + FUNCTION,
        b'"""A module."""\n\nimport os\n\n' + FUNCTION,
        b'def keep(rate):\n    """Say whether."""\n    return (\n        rate > 0.5\n    )\n',
    ],
)
def test_words_and_formatting_do_not_count(text: bytes) -> None:
    assert list(_definitions(text)) == list(_definitions(FUNCTION))


def test_other_code_counts() -> None:
    assert list(_definitions(FUNCTION.replace(b">", b">="))) != list(_definitions(FUNCTION))


def test_it_is_kept_beside_the_bytecode_for_this_state_of_the_code(tmp_path: Path) -> None:
    def said(**more: str) -> str:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path), **more}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        command = [sys.executable, "-c", SAY]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    assert said() == f"{sampling_version()}\n"
    [kept] = tmp_path.rglob("code_identity.*.plan-engine-*")
    state, found = kept.read_text().split()
    kept.write_text(f"{state} of_this_state")
    assert said() == "of_this_state\n"
    for text in (f"another_state {found[::-1]}", "cut", ""):
        kept.write_text(text)
        assert said() == f"{sampling_version()}\n"
        assert kept.read_text() == f"{state} {found}"
