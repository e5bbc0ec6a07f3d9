"""The normalised text of code is the same in every version of Python."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data_pipeline.code_version.normalised_syntax import digest, normalised

PACKAGE = Path(__file__).parents[2]

# Nodes that gained fields, f-strings that are cut otherwise, texts that are printed otherwise.
SOURCE = r'''
import a, b.c as d
from .. import e as f, g

@decorated(1, *x, key=[None, True, ..., b"\xff", 1e999, 2j, -0.0])
async def f(a: int, /, b: "str" = 1, *c, d=2, **e) -> "list[int]":
    """Docstring."""
    return f"a{a!r:>{b}}b" f"{a:}" rf"{a}\n" 'x' f"{a=}"

def plain(a: int) -> int: x: int = 1; y: str; return 10**3 + 0xff + 1_000 + 123456789 ** 99

class A(B, metaclass=M):
    x: int = 3
    y: "int"
    def f(self): pass

match x:
    case {"a": 1, **rest} if rest: y = 1
    case A(x=1) | [1, *_]: y = "\U0001fae8\ud800"
try: pass
except* ValueError as error: raise
else: z = [*a, {**a, 1: 2}, x[1:2, ::3], (yield)]
with a as b, c: global q
lambda x, /, y=1, *, z: (n := [i async for i in x if i])
'''

EXPECTED = "2bcb298dc120a346"

SCRIPT = """
import ast, sys
from data_pipeline.code_version.normalised_syntax import digest, normalised
print(digest(normalised(ast.parse(sys.stdin.read()))))
"""


def test_here() -> None:
    assert digest(normalised(ast.parse(SOURCE))) == EXPECTED


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_in_other_versions(version: str) -> None:
    program = shutil.which(f"python{version}")
    command = [program or "", "-c", SCRIPT]
    if program is None or subprocess.run([program, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"there is no Python {version}; its own test run covers it")
    made = subprocess.run(
        command,
        input=SOURCE,
        cwd=PACKAGE,
        env={**os.environ, "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout.strip() == EXPECTED


def test_long_expressions_are_no_trouble() -> None:
    deep = ast.parse("x = " + "+".join("y" * (2 * sys.getrecursionlimit())))
    assert normalised(deep).count("Name(y)") == 2 * sys.getrecursionlimit()


@pytest.mark.parametrize("after", ["", "\n  return a"])
def test_imports_have_no_order(after: str) -> None:
    one, other = "import a, c\n  from . import b", "from . import b\n  import c\n  import a"
    texts = [normalised(ast.parse(f"def f():\n  {imports}{after}")) for imports in (one, other)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("f(a)(b)", "f(a, b)"),
        ("(a, b), c", "a, (b, c)"),
        ("'a', 'b'", "'a, b'"),
        ("f(x=1)", "f(**{'x': 1})"),
        ("x = 1", "x = True"),
        ("x = 1", "x = 1.0"),
        ("x = '1'", "x = b'1'"),
        ("f'{a}b'", "f'{a}' 'c'"),
        ("f'{a!r}'", "f'{a!s}'"),
        ("f'{a:x}'", "f'{a}x'"),
        ("{**a, 'b': 1}", "{'b': 1, **a}"),
        ("a[1:]", "a[:1]"),
        ("lambda a, b=1: a", "lambda a=1, b=1: a"),
        ("lambda *, a: a", "lambda a: a"),
        ("def f():\n  x = 1\n  y = 1", "def f():\n  x = y = 1"),
        ("if a:\n  b()\nc()", "if a:\n  b()\n  c()"),
        ("for a in b:\n  c()\nelse:\n  d()", "for a in b:\n  c()\n  d()"),
        ("async def f(): pass", "def f(): pass"),
        ("def f():\n  import a as b", "def f():\n  import b as a"),
        ("def f():\n  from . import a", "def f():\n  from .. import a"),
        ("class A:\n  x: int", "class A:\n  x: str"),
        ("@d\ndef f(x: int): pass", "@d\ndef f(x: str): pass"),
        ("1 < 2 < 3", "(1 < 2) < 3"),
        ("a and b or c", "a and (b or c)"),
        ("-1 ** 2", "(-1) ** 2"),
    ],
)
def test_different_code_has_different_texts(one: str, other: str) -> None:
    assert normalised(ast.parse(one)) != normalised(ast.parse(other))
