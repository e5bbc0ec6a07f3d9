"""A library that another thread imports at this moment is there as a whole or not at all."""

import sys
import threading
import time
from pathlib import Path

import pytest

from data_pipeline.transfer.frames import loaded_module


def test_a_module_is_never_seen_half_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = "import time\ntime.sleep(0.3)\nclass DataFrame:\n    pass\n"
    (tmp_path / "slowly_imported.py").write_text(slow)
    monkeypatch.syspath_prepend(tmp_path)
    importing = threading.Thread(target=__import__, args=("slowly_imported",))
    importing.start()
    while "slowly_imported" not in sys.modules:
        time.sleep(0.001)
    assert loaded_module("slowly_imported").DataFrame
    importing.join()
    del sys.modules["slowly_imported"]


def test_what_nobody_imported_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "this", raising=False)
    assert loaded_module("this") is None
    assert "this" not in sys.modules
    monkeypatch.setitem(sys.modules, "this", None)  # type: ignore[arg-type] # refused by somebody
    assert loaded_module("this") is None
