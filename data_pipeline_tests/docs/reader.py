"""Does what a reader of a page does, in processes that are forked from one that has the libraries.

So the commands of a page meet its files as a shell would, and no block waits for Dagster to load.
"""

import contextlib
import io
import runpy
import shlex
import sys
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from data_pipeline_tests.docs.pages import Block
from data_pipeline_tests.launch.forked import PROCESSES, enter
from data_pipeline_tests.testing.test_plugin import PLUGIN

MEANING = {
    "make demo": ["data-pipeline run full midi mini", "data-pipeline instances"],
    "make test": ["pytest -q"],
}
"""What lines of the Makefile of a new project do; `test_init` runs the Makefile itself."""

NOT_RUN = {
    "make": "it is the Makefile of this checkout, or a server",
    "python": "it makes an environment",
    "python3": "it makes an environment",
    ".": "it enters an environment",
    "pip": "it installs",
    "dagster": "it is a server, or a run as `data-pipeline run` does it",
    "docker": "there is none",
    "export": "it is for the shell",
}


class Reader:
    """A reader of one page, with a folder of their own.

    Args:
        folder: Where the reader begins.
        environment: The variables of their shell.
        engine: The database behind it.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], engine: sa.Engine) -> None:
        self.folder = folder
        self._environment = dict(environment)
        self._engine = engine
        self._session: tuple[Any, Connection] | None = None

    def do(self, block: Block) -> None:
        """Do what a block asks for.

        Raises:
            AssertionError: It failed.
        """
        if block.title is not None:
            file = self.folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
            return
        does: dict[str, Callable[[Block], None]] = {
            "python": self._python,
            "sh": self._shell,
            "sql": self._sql,
            "yaml": self._yaml,
            "text": lambda block: None,
            "mermaid": lambda block: None,
        }
        assert block.language in does, f"no block of language {block.language!r} is run"
        does[block.language](block)

    def close(self) -> None:
        """End the process of the Python blocks."""
        if self._session is not None:
            process, connection = self._session
            connection.send(None)
            process.join()

    def _python(self, block: Block) -> None:
        if self._session is None:
            here, there = PROCESSES.Pipe()
            process = PROCESSES.Process(
                target=_run_blocks, args=(there, self._environment), daemon=False
            )
            process.start()
            there.close()
            self._session = process, here
        _, connection = self._session
        connection.send((str(self.folder), block.text, block.line))
        _check(connection.recv())

    def _shell(self, block: Block) -> None:
        for line in block.text.replace("\\\n", " ").splitlines():
            for words in _commands(line):
                self._command(words)

    def _command(self, words: list[str]) -> None:
        while words and "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            self._environment[name] = self._environment[value[1:]] if value[:1] == "$" else value
        if not words or (words[0] in NOT_RUN and not words[-1].endswith(".py")):
            return
        if words[0] == "cd":
            self.folder = self.folder / words[1]
            return
        here, there = PROCESSES.Pipe()
        arguments = (there, self._environment, str(self.folder), words)
        process = PROCESSES.Process(target=_run_command, args=arguments)
        process.start()
        there.close()
        try:
            _check(here.recv())
        finally:
            process.join()

    def _sql(self, block: Block) -> None:
        with self._engine.begin() as connection:
            connection.exec_driver_sql(block.text, execution_options={"no_parameters": True})

    def _yaml(self, block: Block) -> None:
        """Load the page's configuration with what a block adds to it."""
        file = self.folder / "instances.yaml"
        known = yaml.safe_load(file.read_text()) if file.is_file() else {}
        merged = _merged(known, _placed(yaml.safe_load(block.text)))
        merged.setdefault("instances", {"full": {}})
        self.folder.joinpath("merged.yaml").write_text(yaml.safe_dump(merged, sort_keys=False))
        check = Block(
            "python",
            "from data_pipeline import load_configuration\nload_configuration('merged.yaml')\n",
            block.line,
        )
        self._python(check)


def _commands(line: str) -> list[list[str]]:
    """Return the commands of a line, those of the Makefile as what they do."""
    found: list[list[str]] = [[]]
    for word in shlex.split(line, comments=True):
        if word in ("&&", ";"):
            found.append([])
        else:
            found[-1].append(word)
    return [
        shlex.split(command)
        for words in found
        if words
        for command in MEANING.get(" ".join(words), [shlex.join(words)])
    ]


_SECTIONS = {"instances", "technical_setups", "table_store_connections", "blob_store_connections"}
_OF_SETUP = {"table_store", "blob_store", "cache_validation"}


def _placed(fragment: dict[str, Any]) -> dict[str, Any]:
    """Where in `instances.yaml` a fragment belongs."""
    if _SECTIONS & fragment.keys() or {"name", "tracked_packages"} & fragment.keys():
        return fragment
    if fragment.keys() <= _OF_SETUP:
        return {"technical_setups": {"default": fragment}}
    return {"instances": fragment}


def _merged(below: Any, above: Any) -> Any:
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    return {**below, **{key: _merged(below.get(key), value) for key, value in above.items()}}


def _check(told: str | None) -> None:
    assert told is None, told


def _run_blocks(connection: Connection, environment: Mapping[str, str]) -> None:
    """Run what arrives as parts of one module."""
    namespace: dict[str, Any] = {"__name__": "page"}
    while (work := connection.recv()) is not None:
        folder, text, line = work
        enter(environment, folder)
        if folder not in sys.path:
            sys.path.insert(0, folder)
        file = Path(folder) / f"block_{line}.py"
        file.write_text(text)
        namespace["__file__"] = str(file)
        connection.send(
            _told(lambda text=text, file=file: exec(compile(text, file, "exec"), namespace))
        )


def _run_command(
    connection: Connection, environment: Mapping[str, str], folder: str, words: list[str]
) -> None:
    enter(environment, folder)
    connection.send(_told(lambda: _run(words)))


def _run(words: list[str]) -> None:
    program, *arguments = words
    if program == "python":
        runpy.run_path(arguments[0], run_name="__main__")
        return
    if program == "pytest":
        code = pytest.main(["-p", "no:cacheprovider", *PLUGIN, *arguments])
        assert code == 0, f"{shlex.join(words)} ended with {code}"
        return
    assert program == "data-pipeline", f"nobody here runs {shlex.join(words)!r}"
    from data_pipeline.cli import main

    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert not ended.value.code, f"{shlex.join(words)} ended with {ended.value.code}"


def _told(work: Callable[[], object]) -> str | None:
    """What went wrong, with what was printed before; None where nothing did."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            work()
    except BaseException:  # it is told to the test
        return f"{printed.getvalue()[-6000:]}\n{traceback.format_exc()}"
    return None
