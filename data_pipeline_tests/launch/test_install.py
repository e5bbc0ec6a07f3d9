"""Installing by uv: pip's settings hold for it, or pip installs."""

import subprocess
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[2] / "install.py"
BEST = {"UV_INDEX_STRATEGY": "unsafe-best-match"}


@pytest.fixture(scope="module")
def install() -> Any:
    spec = spec_from_file_location("install", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def listed(*lines: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess([], code, "\n".join(lines))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], {}),
        (["global.timeout='60'", "freeze.timeout='10'", "list.format='columns'"], {}),
        (["global.index-url='https://a/simple'"], {"UV_DEFAULT_INDEX": "https://a/simple"}),
        (["global.extra-index-url='https://a\\nhttps://b'"], {"UV_INDEX": "https://a https://b"}),
        (["global.find-links='/a /b'", "global.cert='/c'"],
         {"UV_FIND_LINKS": "/a,/b", "SSL_CERT_FILE": "/c"}),
        ([":env:.index-url='https://e'", "global.index-url='https://a'"],
         {"UV_DEFAULT_INDEX": "https://e"}),
        (["global.index-url='https://a'", "install.index-url='https://i'"],
         {"UV_DEFAULT_INDEX": "https://i"}),
    ],
)  # fmt: skip
def test_uv_has_a_word_for(install: Any, lines: list[str], expected: dict[str, str]) -> None:
    assert install.for_uv(listed(*lines)) == {**BEST, **expected}


@pytest.mark.parametrize("setting", ["proxy", "no-index", "trusted-host", "client-cert"])
def test_what_uv_has_no_word_for_is_left_to_pip(install: Any, setting: str) -> None:
    assert install.for_uv(listed("global.cert='/c'", f"global.{setting}='x'")) is None


def test_a_pip_that_does_not_say_what_its_settings_are_installs_itself(install: Any) -> None:
    assert install.for_uv(listed(code=1)) is None
