"""Values that an asset's code reads when it runs are named, since code versions cannot see them."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline.assembly import instance_definitions
from data_pipeline.cli import main
from data_pipeline.code_version.code_version import code_versions
from data_pipeline.code_version.code_warnings import UnresolvedCodeWarning, UnseenInputWarning
from data_pipeline_tests.code_version.made_project import MadeProject

START = """\
import builtins, codecs, gzip, io, importlib.resources, os, pathlib, random, secrets, time, uuid
import requests, sqlite3, subprocess, urllib.request
import datetime as dt
import dagster as dg
import numpy as np
import numpy.random as npr
import pandas as pd
import polars as pl
from datetime import date, datetime
from io import StringIO
from os import environ as e, getenv
from pathlib import Path
from numpy.random import default_rng
from random import shuffle as mixed
from time import time as now
from . import helpers
from .helpers import HERE, KEYS, LABELS, Store, opened
from .helpers import read_text

"""

HELPERS = """
import os
from pathlib import Path

HERE = Path(__file__).parent / "data"
KEYS = ["a"]
LABELS = {"open": 1}

class Store:
    def read_text(self):
        return "a"
    def open(self):
        return "a"

def opened(open, time, environ):
    return open(time.time(), environ["a"])

def read_text(path):
    return path

def never():
    return os.environ["A"]
"""

IMPORTED = "from data_pipeline.sources.fingerprints import outside_input"

READ = {
    "a variable": ("os.environ['A']", "an environment variable (`os.environ`)"),
    "a variable, by get": ("os.environ.get('A', 'b').split(',')", "environment variable"),
    "a variable of another name": ("e['A']", "an environment variable (`e`)"),
    "getenv": ("getenv('A')", "environment variable (`getenv`)"),
    "all variables": ("{**os.environ}", "environment variable"),
    "bytes of a variable": ("os.environb[b'A']", "environment variable"),
    "a variable by getattr": ("getattr(os, 'environ')['A']", "environment variable"),
    "a variable of dagster": ("dg.EnvVar('A').get_value()", "environment variable"),
    "a number of dagster": ("dg.EnvVar.int('A').get_value()", "environment variable"),
    "a default": ("(lambda x=os.environ['A']: x)()", "environment variable"),
    "open": ("open('a').read()", "a file (`open`)"),
    "open with": ("[line for line in open('a', encoding='utf-8')]", "a file (`open`)"),
    "open of builtins": ("builtins.open('a')", "a file (`builtins.open`)"),
    "open to read and write": ("open('a', mode='r+')", "a file (`open`)"),
    "open, passed on": ("list(map(open, ['a']))", "a file (`open`)"),
    "io.open": ("io.open('a')", "a file (`io.open`)"),
    "a packed file": ("gzip.open('a', 'rt')", "a file (`gzip.open`)"),
    "read_text": ("Path('a').read_text()", "a file (`.read_text`)"),
    "read_bytes": ("pathlib.Path('a').read_bytes()", "a file (`.read_bytes`)"),
    "read_text of the class": ("Path.read_text(Path('a'))", "a file (`Path.read_text`)"),
    "a file beside the code": (
        "(Path(__file__).parent / 'a.txt').read_text()",
        "a file (`.read_text`)",
    ),
    "Path.open": ("Path('a').open().read()", "a file (`.open`)"),
    "Path.open of a part": ("(Path('a') / 'b').with_suffix('.c').open()", "a file (`.open`)"),
    "a path of another module": ("(HERE / 'a').open()", "a file (`.open`)"),
    "text of a constant": ("HERE.read_text()", "a file (`.read_text`)"),
    "text of the module": ("helpers.HERE.read_bytes()", "a file (`.read_bytes`)"),
    "data of a package": (
        "importlib.resources.files('a').joinpath('b').read_text()",
        "a file (`.read_text`)",
    ),
    "text of a package": ("importlib.resources.read_text('a', 'b')", "a file"),
    "pandas": ("pd.read_csv('a.csv')", "a file (`pd.read_csv`)"),
    "polars": ("pl.scan_parquet('a')", "a file (`pl.scan_parquet`)"),
    "numpy": ("np.load('a.npy')", "a file (`np.load`)"),
    "time": ("time.time()", "the clock (`time.time`)"),
    "time of another name": ("now()", "the clock (`now`)"),
    "a moment": ("time.localtime()", "the clock"),
    "a text of now": ("time.strftime('%Y')", "the clock"),
    "datetime.now": ("datetime.now().date()", "the clock (`datetime.now`)"),
    "datetime.now with a zone": ("dt.datetime.now(tz=dt.timezone.utc)", "the clock"),
    "utcnow": ("dt.datetime.utcnow()", "the clock"),
    "today": ("date.today()", "the clock (`date.today`)"),
    "today of a datetime": ("datetime.today()", "the clock"),
    "today of pandas": ("pd.Timestamp.today()", "the clock"),
    "now of pandas": ("pd.Timestamp.now('UTC')", "the clock (`pd.Timestamp.now`)"),
    "now as a text": ("pd.to_datetime('today')", "the clock"),
    "today of numpy": ("np.datetime64('now')", "the clock"),
    "random": ("random.random()", "a random number (`random.random`)"),
    "a random choice": ("random.choice(KEYS)", "a random number"),
    "shuffled": ("mixed(KEYS)", "a random number (`mixed`)"),
    "Random": ("random.Random().random()", "a random number (`random.Random`)"),
    "the system's numbers": ("random.SystemRandom(1).random()", "a random number"),
    "secrets": ("secrets.token_hex()", "a random number"),
    "uuid1": ("uuid.uuid1()", "a random number"),
    "uuid4": ("uuid.uuid4().hex", "a random number (`uuid.uuid4`)"),
    "urandom": ("os.urandom(4)", "a random number"),
    "numpy.random": ("np.random.rand(3)", "a random number (`np.random.rand`)"),
    "normal": ("npr.normal(size=3)", "a random number (`npr.normal`)"),
    "default_rng": ("default_rng().random()", "a random number (`default_rng`)"),
    "default_rng of None": ("np.random.default_rng(None)", "a random number"),
    "default_rng of seed=None": ("np.random.default_rng(seed=None)", "a random number"),
    "RandomState": ("np.random.RandomState().rand()", "a random number"),
    "another program": ("subprocess.run(['ls'])", "what another program says"),
    "a server": ("urllib.request.urlopen('http://a')", "what a server says"),
    "a server, by another library": ("requests.get('http://a').json()", "what a server says"),
    "a workbook": ("pd.ExcelFile('a.xlsx')", "a file (`pd.ExcelFile`)"),
    "a database in a file": ("sqlite3.connect('a.db')", "a file (`sqlite3.connect`)"),
    "a bit generator": ("np.random.Generator(np.random.PCG64())", "a random number"),
}

NOT_READ = {
    "a timer": "time.perf_counter() - time.monotonic()",
    "a moment that is given": "time.strftime('%Y', time.gmtime(0))",
    "a date that is given": "datetime(2020, 1, 1), pd.Timestamp('2020-01-01'), date.max",
    "a zone": "datetime.fromtimestamp(0, dt.timezone.utc)",
    "a seed": "default_rng(1).random() + np.random.default_rng(seed=KEYS).random()",
    "a seeded Random": "random.Random(3).random() + np.random.RandomState(1).rand()",
    "a seeded bit generator": "np.random.Generator(np.random.PCG64(1)).random()",
    "a generator that is given": "(lambda rng: rng.random())(1)",
    "the type of a generator": "isinstance(KEYS, (random.Random, np.random.RandomState))",
    "names of arguments": "opened(min, KEYS, LABELS)",
    "open of another kind": "Store().open(), LABELS['open']",
    "names of our own": "read_text('a'), helpers.read_text('a'), Store().read_text()",
    "a file that is written": "open('a', 'w'), Path('a').open(mode='wb'), Path('a').write_text('')",
    "a buffer": "pd.read_csv(StringIO('a')), pd.read_json(io.StringIO('a'))",
    "a database": "pd.read_sql('SELECT 1', None)",
    "a variable that is set": "os.environ.update(A='1'), os.environ.setdefault('A', '1')",
    "what only tells a type": "(lambda: 1)()",
    "a uuid of a name": "uuid.uuid5(uuid.NAMESPACE_DNS, 'a')",
    "paths that are not read": "Path('a').exists(), HERE / 'a', os.path.join('a')",
    "secrets compared": "secrets.compare_digest('a', 'b')",
}

STATEMENTS_READ = {
    "a path in a variable": "path = Path('a')\n    with path.open() as f:  # !\n        pass",
    "a path in a loop": "for path in HERE.glob('*'):\n        path.open('rb')  # !",
    "an argument that is a path": (
        "def f(path: 'Path | None'):\n        return path.open()  # !\n    return f(None)"
    ),
    "an argument of no type": "def f(x):\n        return x.read_text()  # !\n    return f(HERE)",
    "an import within": "from os import environ\n    return environ['A']  # !",
    "over several lines": "return (\n        HERE\n        .read_text()  # !\n    )",
    "an open file, read by another": "with open('a') as f:  # !\n        return pd.read_csv(f)",
    "a seed of another generator": "random.seed(1)\n    return np.random.rand(2)  # !",
    "a seed of nothing": "np.random.seed()  # !\n    return 1",
    "a path that is bound again": (
        "path = Path('a')\n    path = path.parent\n    path = path / 'b'\n    path.open()  # !"
    ),
    "a changed variable": "return os.environ.pop('A', '')  # !",
}

STATEMENTS_NOT_READ = {
    "a seed before": "np.random.seed(3)\n    return np.random.rand(2), npr.choice(KEYS)",
    "a seed of random": "random.seed(KEYS[0])\n    return random.random(), mixed(KEYS)",
    "a name bound before": "open, time = min, KEYS\n    return open(time.time())",
    "a name of a loop": "return [random.choice() for random in KEYS]",
    "a variable that is set": "os.environ['A'] = '1'\n    del e['B']",
    "a buffer in a variable": "buffer = StringIO('a')\n    return pd.read_csv(buffer)",
    "annotations": "x: os.environ = 1\n    return x",
    "an object of ours": "store = Store()\n    return store.read_text(), store.open()",
}


def project(folder: Path, code: str, more: str = "") -> MadeProject:
    text = f"{START}def run():\n    {code}\n\n"
    for name in "ab":
        text += f"@dg.asset\ndef {name}():\n    return run()\n\n"
    text += f"{more}\nassets = [a, b]"
    return MadeProject(folder, {"assets.py": text, "helpers.py": HELPERS})


def warned(made: MadeProject, **options: Any) -> list[str]:
    module = made.load("assets")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        code_versions(module.assets, **options)
    assert not [item for item in caught if item.category is UnresolvedCodeWarning]
    return [str(item.message) for item in caught if item.category is UnseenInputWarning]


@pytest.mark.parametrize("kind", [*READ, *STATEMENTS_READ])
def test_a_value_that_is_read_is_named_once_with_its_place(tmp_path: Path, kind: str) -> None:
    code, words = READ.get(kind, ("", ""))
    made = project(tmp_path, STATEMENTS_READ.get(kind, f"return {code}  # !"))
    lines = (made.folder / "assets.py").read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if text.endswith("# !"))
    (message,) = warned(made)
    assert message.startswith(f"{made.folder / 'assets.py'}:{line}: ")
    assert f"{words}" in message
    assert "is read at run time, by a, b." in message
    assert "metadata=outside_input(" in message


@pytest.mark.parametrize("kind", [*NOT_READ, *STATEMENTS_NOT_READ])
def test_what_the_source_tells_is_not_named(tmp_path: Path, kind: str) -> None:
    code = STATEMENTS_NOT_READ.get(kind) or f"return {NOT_READ[kind]}"
    assert warned(project(tmp_path, code)) == []


@pytest.mark.parametrize(
    "declared",
    ["code_version='1'", "metadata=outside_input()", "metadata=outside_input(lambda: 1)"],
)
def test_assets_that_say_so_need_no_warning(tmp_path: Path, declared: str) -> None:
    made = project(tmp_path, "return os.environ['A']")
    made.edit("assets.py", "@dg.asset\ndef a", f"@dg.asset({declared})\ndef a")
    made.edit("assets.py", "import builtins", f"{IMPORTED}\nimport builtins")
    (message,) = warned(made)
    assert "is read at run time, by b." in message
    assert warned(made, raw={"b"}) == []


def test_what_is_computed_together_is_covered_together(tmp_path: Path) -> None:
    text = f"""
    import os
    import dagster as dg
    {IMPORTED}
    @dg.multi_asset(outs={{"a": dg.AssetOut(metadata=outside_input()), "b": dg.AssetOut()}})
    def several():
        return os.environ["A"], 1
    assets = [several]
    """
    made = MadeProject(tmp_path, {"assets.py": text})
    assert warned(made) == []
    made.edit("assets.py", "metadata=outside_input()", "")
    assert "by a, b." in warned(made)[0]


def test_what_no_asset_reaches_is_not_named(tmp_path: Path) -> None:
    made = project(tmp_path, "return 1", more="def unused():\n    return os.environ['A']")
    assert warned(made) == []


def test_constants_classes_and_helpers_that_an_asset_reaches_are_looked_at(tmp_path: Path) -> None:
    text = """
    import dagster as dg
    from .helpers import HOST, Client, load
    @dg.asset
    def a():
        return HOST
    @dg.asset
    def b():
        return Client().get()
    @dg.asset(required_resource_keys={"client"})
    def c():
        return load()
    assets = [a, b, c]
    """
    helpers = """
    import os, time
    HOST = os.environ.get("HOST")
    class Client:
        def get(self):
            return time.time()
    def load():
        return deeper()
    def deeper():
        return open("a")
    """
    made = MadeProject(tmp_path, {"assets.py": text, "helpers.py": helpers})
    file = made.folder / "helpers.py"
    first, second, third = warned(made)
    assert first.startswith(f"{file}:10: a file (`open`) is read at run time, by c.")
    assert second.startswith(f"{file}:3: an environment variable (`os.environ.get`) is")
    assert third.startswith(f"{file}:6: the clock (`time.time`) is read at run time, by b.")
    client = made.load("helpers").Client
    assert any("by b, c." in text for text in warned(made, resources={"client": client()}))


def test_a_module_that_is_a_value_is_looked_at(tmp_path: Path) -> None:
    (message,) = warned(project(tmp_path, "return vars(helpers)"))
    assert "helpers.py" in message
    assert "(`os.environ`)" in message


def test_reading_does_not_change_code_versions_but_the_code_does(tmp_path: Path) -> None:
    made = project(tmp_path, "return os.environ['A']")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnseenInputWarning)
        before = made.versions()
        assert made.versions() == before
        made.edit("assets.py", "os.environ['A']", "os.environ['B']")
        assert made.versions() != before


@pytest.mark.parametrize("name", ["full", "midi"])
def test_plan_says_what_is_read(
    pipeline_database: sa.Engine,
    tmp_path: Path,
    define: Callable[[dg.Definitions], None],
    name: str,
) -> None:
    text = """
    import os
    import dagster as dg
    from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
    @dg.asset(key=["s", "a"], partitions_def=INSTANCE_PARTITIONS)
    def a() -> int:
        return os.environ["A"]
    """
    made = MadeProject(tmp_path, {"assets.py": text})
    with pytest.warns(UnseenInputWarning, match=r"is read at run time, by s/a\."):
        define(instance_definitions([made.load("assets").a]))
    result = CliRunner().invoke(main, ["plan", name])
    assert result.exit_code == 0, result.output
    place = made.folder / "assets.py"
    assert result.output.count(f"{place}:7: an environment variable (`os.environ`)") == 1


def test_the_shipped_pipelines_read_nothing_unseen() -> None:
    load = "import data_pipeline.definitions"
    subprocess.run([sys.executable, "-W", "error", "-c", load], check=True)
