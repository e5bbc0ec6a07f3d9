"""What a code version reaches: each way in which code can refer to other code of its project.

Each case is a project with an asset `asset` in `assets.py`, and an edit that must change its code
version, beside one that must not.
"""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from data_pipeline_tests.code_version.made_project import MadeProject

ASSET = "import dagster as dg\n\n@dg.asset\ndef asset():\n    return "


@dataclass
class Case:
    """A project, and edits of it: file, old text, new text."""

    assets: str
    counts: tuple[str, str, str]
    does_not: tuple[str, str, str] | None = None
    files: dict[str, str] = field(default_factory=dict)


HELPERS = "def used(x=0):\n    return x + 1\n\ndef unused():\n    return 10\n"
USED = ("helpers.py", "x + 1", "x + 2")
UNUSED = ("helpers.py", "return 10", "return 11")


def read_by(expression: str) -> Case:
    """A helper reads what decorators say of the asset."""
    return in_place(
        "import dagster as dg\n@dg.asset(metadata={'a': 1}, op_tags={'c': '1'}, description='d')\n"
        "def asset(context):\n    return said(context)\ndef said(context):\n"
        f"    return {expression}",
        "'c': '1'" if "tags" in expression else "'a': 1",
        "'c': '2'" if "tags" in expression else "'a': 2",
        other=("'d'", "'e'"),
    )


def by_helpers(assets: str, helpers: str = HELPERS, **files: str) -> Case:
    named = {f"{name}.py": text for name, text in files.items()}
    return Case(assets, USED, UNUSED, {"helpers.py": helpers, **named})


def in_place(text: str, old: str, new: str, other: tuple[str, str] | None = None) -> Case:
    return Case(text, ("assets.py", old, new), other and ("assets.py", *other))


REGISTER = "TABLE = {}\ndef register(name, value):\n    TABLE[name] = value\n"


def registered(statement: str, used: str = "TABLE['a']", table: str = REGISTER) -> Case:
    """An entry is made while a module is imported; `2` is what an edit replaces."""
    return Case(
        f"from . import filling\nfrom .table import TABLE\n{ASSET}{used}",
        ("filling.py", "2", "3"),
        ("filling.py", "return 10", "return 11"),
        {
            "table.py": table,
            "filling.py": f"from . import table\nfrom .table import *\n{statement}\n"
            "def unused():\n    return 10\n",
        },
    )


def filled(statement: str, used: str, table: str = "TABLE = {}\n") -> Case:
    return by_helpers(
        f"from . import filling, table\nfrom .table import TABLE\n{ASSET}{used}",
        table=table,
        filling="from . import table\nfrom .helpers import used\nfrom .table import TABLE\n"
        f"{statement}\n",
    )


CASES = {
    "its own body": in_place(ASSET + "1", "return 1", "return 2"),
    "the type of a literal": in_place(ASSET + "1", "return 1", "return 1.0"),
    "the case of a literal": in_place(ASSET + "'ABC'", "ABC", "abc"),
    "quotes in a literal": in_place(ASSET + "'a\"b'", 'a"b', "ab"),
    "an operator": in_place(ASSET + "1 + 2", "1 + 2", "1 - 2"),
    "from x import y": by_helpers("from {pkg}.helpers import used\n" + ASSET + "used()"),
    "an alias": by_helpers("from {pkg}.helpers import used as u\n" + ASSET + "u()"),
    "import a.b as c": by_helpers("import {pkg}.helpers as h\n" + ASSET + "h.used()"),
    "import a.b": by_helpers("import {pkg}.helpers\n" + ASSET + "{pkg}.helpers.used()"),
    "import of a package": by_helpers(
        "import {pkg}\nimport {pkg}.helpers\n" + ASSET + "{pkg}.helpers.used()"
    ),
    "a relative import": by_helpers("from .helpers import used\n" + ASSET + "used()"),
    "a relative module": by_helpers("from . import helpers\n" + ASSET + "helpers.used()"),
    "a re-export": by_helpers(
        "from {pkg}.sub import used\n" + ASSET + "used()",
        **{"sub/__init__": "from ..helpers import used, unused"},
    ),
    "a submodule that its package imports": by_helpers(
        "from {pkg} import sub\n" + ASSET + "sub.inner.used()",
        **{
            "sub/__init__": "from {pkg}.sub import inner",
            "sub/inner": "from {pkg}.helpers import used",
        },
    ),
    "a folder without __init__": Case(
        "from {pkg}.plain.helpers import used\n" + ASSET + "used()",
        ("plain/helpers.py", "x + 1", "x + 2"),
        ("plain/helpers.py", "return 10", "return 11"),
        {"plain/helpers.py": HELPERS},
    ),
    "an import in the function": by_helpers(
        ASSET + "run()\n\ndef run():\n    from {pkg}.helpers import used\n    return used()"
    ),
    "an import in an outer function": by_helpers(
        ASSET + "run()\n\ndef run():\n    from . import helpers as h\n"
        "    return [h.used(i) for i in (lambda: [1])()]"
    ),
    "an import that an inner function may replace": by_helpers(
        ASSET + "run()\n\ndef run():\n    from . import helpers as h\n    def inner():\n"
        "        nonlocal h\n        x = h.used()\n        h = None\n        return x\n"
        "    return inner()"
    ),
    "import_module of a literal": by_helpers(
        "import importlib\n" + ASSET + "importlib.import_module('{pkg}.helpers').used()"
    ),
    "getattr of a literal": by_helpers(
        "from . import helpers\n" + ASSET + "getattr(helpers, 'used')()"
    ),
    "a module as a value": Case(
        "from . import helpers\n" + ASSET + "vars(helpers)['used']()",
        USED,
        None,
        {"helpers.py": HELPERS},
    ),
    "a star import": by_helpers("from {pkg}.helpers import *\n" + ASSET + "used()"),
    "a star import of a star import": by_helpers(
        "from {pkg}.stars import *\n" + ASSET + "used()", stars="from {pkg}.helpers import *"
    ),
    "an import that can fail": by_helpers(
        "try:\n    from nowhere import used\nexcept ImportError:\n"
        "    from {pkg}.helpers import used\n" + ASSET + "used()"
    ),
    "a function instead of an import": in_place(
        "try:\n    from nowhere import f\nexcept ImportError:\n"
        "    def f():\n        return 1\n" + ASSET + "f()",
        "        return 1",
        "        return 2",
    ),
    "a lazy attribute of a package": by_helpers(
        "import {pkg}.sub as sub\n" + ASSET + "sub.used()",
        **{
            "sub/__init__": "def __getattr__(name):\n    from {pkg}.helpers import used\n"
            "    return used\n"
        },
    ),
    "three modules away": by_helpers(
        "from .one import f\n" + ASSET + "f()",
        one="from .two import g\ndef f():\n    return g()\n",
        two="from . import helpers\ndef g():\n    return helpers.used()\n",
    ),
    "a default": by_helpers(
        "from .helpers import used\n" + ASSET + "f()\ndef f(x=used()):\n    return x"
    ),
    "the value of a default": in_place(
        ASSET + "f()\ndef f(x=1, *, y=2):\n    return x", "y=2", "y=3"
    ),
    "a decorator": by_helpers(
        "from .helpers import used, wrap\n" + ASSET + "f()\n@wrap\ndef f():\n    return 1",
        HELPERS + "def wrap(f):\n    return lambda: used(f())\n",
    ),
    "an argument of a decorator": in_place(
        "def times(n):\n    return lambda f: lambda: n * f()\n"
        + ASSET
        + "f()\n@times(2)\ndef f():\n    return 1",
        "@times(2)",
        "@times(3)",
    ),
    "a partial": by_helpers(
        "import functools\nfrom .helpers import used\nf = functools.partial(used, 1)\n"
        + ASSET
        + "f()"
    ),
    "an argument of a partial": in_place(
        "import functools\nf = functools.partial(max, 1)\n" + ASSET + "f(2)", "max, 1", "max, 3"
    ),
    "a comprehension": by_helpers(
        "from .helpers import used\n" + ASSET + "[used(x) for x in range(3) if x]"
    ),
    "the first iterable of a comprehension": by_helpers(
        "from . import helpers\n" + ASSET + "{x: 1 for x in [helpers.used()]}"
    ),
    "an iterable that the variable hides": in_place(
        "A = [1]\n" + ASSET + "[A for A in A]", "A = [1]", "A = [2]"
    ),
    "a lambda": by_helpers("from .helpers import used\n" + ASSET + "(lambda x: used(x))(1)"),
    "a nested function": by_helpers(
        "from .helpers import used\n" + ASSET + "f()\ndef f():\n    def g():\n"
        "        return used()\n    return g()"
    ),
    "a name bound to a function": by_helpers(
        "from .helpers import used\nalias = used\n" + ASSET + "alias()"
    ),
    "a table of functions": by_helpers(
        "from . import helpers\nTABLE = {'a': helpers.used, 'b': len}\n" + ASSET + "TABLE['a']()"
    ),
    "a table filled by statements": by_helpers(
        "from . import helpers\nTABLE = {}\nTABLE['a'] = helpers.used\n" + ASSET + "TABLE['a']()"
    ),
    "a table filled by a method": by_helpers(
        "from . import helpers\nTABLE = []\nTABLE.append(helpers.used)\n" + ASSET + "TABLE[0]()"
    ),
    "a table filled by a decorator": by_helpers(
        "from . import helpers\nfrom .table import TABLE\n" + ASSET + "TABLE['a']()",
        "from .table import register\n@register('a')\n"
        "def used(x=0):\n    return x + 1\n\ndef unused():\n    return 10\n",
        table="TABLE = {}\ndef register(name):\n    def add(f):\n        TABLE[name] = f\n"
        "        return f\n    return add\n",
    ),
    "the way that a table is filled": Case(
        "from .table import TABLE\n" + ASSET + "TABLE['a']",
        ("table.py", "2 * value", "3 * value"),
        ("table.py", "return 10", "return 11"),
        {
            "table.py": "TABLE = {}\ndef put(name, value):\n    TABLE[name] = 2 * value\n"
            "put('a', 1)\ndef unused():\n    return 10\n"
        },
    ),
    "what is put into a table": Case(
        "from .table import TABLE\n" + ASSET + "TABLE['a']",
        ("table.py", "put('a', 1)", "put('a', 2)"),
        None,
        {"table.py": "TABLE = {}\ndef put(name, value):\n    TABLE[name] = value\nput('a', 1)\n"},
    ),
    "an entry made in a loop": registered("for name in 'ab':\n    register(name, 2)"),
    "an entry made under a condition": registered("if not TABLE:\n    register('a', 2)"),
    "an entry made in an attempt": registered(
        "try:\n    register('a', 2)\nexcept KeyError:\n    pass"
    ),
    "an entry whose result is kept": registered("made = register('a', 2)"),
    "entries made in a comprehension": registered("made = [register(name, 2) for name in 'ab']"),
    "an entry made by another function": registered(
        "def fill():\n    register('a', 2)\ndef fill_all():\n    fill()\nif True:\n    fill_all()"
    ),
    "an entry made by a function with an import": registered(
        "def fill():\n    from .table import register as put\n    put('a', 2)\nfill()"
    ),
    "a class registered under a condition": registered(
        "if True:\n    @registered('a')\n    class K:\n        x = 2",
        "TABLE['a'].x",
        f"{REGISTER}def registered(name):\n    return lambda kind: register(name, kind)\n",
    ),
    "classes that are registered by their base": registered(
        "class K(Base):\n    x = 2",
        "TABLE['K'].x",
        f"{REGISTER}class Base:\n    def __init_subclass__(cls):\n"
        "        register(cls.__name__, cls)\n",
    ),
    "a global that a setter sets": registered(
        "put(2)", "TABLE", "TABLE = 0\ndef put(x):\n    global TABLE\n    TABLE = x\n"
    ),
    "an object that a function configures": registered(
        "def configure():\n    TABLE.configure(2)\nconfigure()",
        "TABLE.x",
        "class K:\n    x = 1\n    def configure(self, x):\n        self.x = x\nTABLE = K()\n",
    ),
    "a context variable": registered(
        "token = TABLE.set(2)",
        "TABLE.get()",
        "import contextvars\nTABLE = contextvars.ContextVar('x', default=0)\n",
    ),
    "an object configured beside it": in_place(
        "import types\nA = types.SimpleNamespace(x=0)\nA.put = lambda x: setattr(A, 'x', x)\n"
        "def fill():\n    A.put(2)\ndef never():\n    A.put(10)\nfill()\n" + ASSET + "A.x",
        "A.put(2)",
        "A.put(3)",
        other=("A.put(10)", "A.put(11)"),
    ),
    "a table filled by another module": filled("TABLE['a'] = used", "TABLE['a']()"),
    "a table filled through its module": filled("table.TABLE['a'] = used", "TABLE['a']()"),
    "a table filled by its method": filled("table.TABLE.setdefault('a', used)", "TABLE['a']()"),
    "a table filled by a function elsewhere": filled(
        "def fill():\n    TABLE['a'] = used\nfill()", "TABLE['a']()"
    ),
    "a table that a function gets": filled(
        "import operator\noperator.setitem(TABLE, 'a', used)", "TABLE['a']()"
    ),
    "an object with a decorator": filled(
        "@TABLE.register('a')\ndef by_used():\n    return used()",
        "TABLE.made['a']()",
        "class Table:\n    def __init__(self):\n        self.made = {}\n"
        "    def register(self, name):\n        return lambda f: self.made.setdefault(name, f)\n"
        "TABLE = Table()\n",
    ),
    "a constant set by another module": filled("table.TABLE = used", "table.TABLE()", "TABLE = 1"),
    "a method set by another module": filled(
        "TABLE.f = lambda self: used()", "TABLE().f()", "class TABLE:\n    pass\n"
    ),
    "an attribute set by its name": filled(
        "setattr(TABLE, 'f', lambda self: used())", "TABLE().f()", "class TABLE:\n    pass\n"
    ),
    "classes that a class notes": filled(
        "class K(TABLE):\n    f = lambda self: used()",
        "TABLE.made[0]().f()",
        "class TABLE:\n    made = []\n    def __init_subclass__(cls):\n"
        "        TABLE.made.append(cls)\n",
    ),
    "classes that a class notes in a table": filled(
        "class Between(table.Base):\n    f = lambda self: 0\nclass K(Between):\n"
        "    f = lambda self: used()",
        "TABLE[1]().f()",
        "TABLE = []\nclass Base:\n    def __init_subclass__(cls):\n        TABLE.append(cls)\n",
    ),
    "classes that a metaclass notes": filled(
        "class K(metaclass=TABLE):\n    f = lambda self: used()",
        "TABLE.made[0]().f()",
        "class TABLE(type):\n    made = []\n    def __init__(cls, *given):\n"
        "        TABLE.made.append(cls)\n",
    ),
    "subclasses": filled(
        "class K(TABLE):\n    f = lambda self: used()",
        "TABLE.__subclasses__()[0]().f()",
        "class TABLE:\n    pass\n",
    ),
    "an attribute set in a loop": in_place(
        "class K:\n    pass\nfor name in 'ab':\n    setattr(K, name, 1)\n" + ASSET + "K.a",
        "name, 1)",
        "name, 2)",
    ),
    "attributes set as items": in_place(
        "class K:\n    pass\nk = K()\nvars(k).update(a=1)\n" + ASSET + "k.a", "a=1", "a=2"
    ),
    "a table by another name": filled("other = table.TABLE\nother['a'] = used", "TABLE['a']()"),
    "a table of a star import": by_helpers(
        "from . import filling\nfrom .table import TABLE\n" + ASSET + "TABLE['a']()",
        table="TABLE = {}\n",
        filling="from .helpers import used\nfrom .table import *\nTABLE['a'] = used\n",
    ),
    "two names of one value": in_place(
        "A = B = {}\nB['a'] = 1\n" + ASSET + "A['a']", "'a'] = 1", "'a'] = 2"
    ),
    "a class by another name": in_place(
        "class K:\n    a = 1\nL = K\nL.a = 2\n" + ASSET + "K.a", "L.a = 2", "L.a = 3"
    ),
    "what is in a constant": in_place(
        "A = [[], []]\nfor part in A[1:]:\n    part.append(1)\n" + ASSET + "A",
        "append(1)",
        "append(2)",
    ),
    "a method within an expression": in_place(
        "A = []\nB = [A.append(i) for i in (1, 2)]\n" + ASSET + "A", "(1, 2)", "(1, 3)"
    ),
    "a name in the text of a query": in_place(
        "import pandas as pd\nA = 1\nB = 10\n" + ASSET + "pd.DataFrame({'a': [1]}).query('a > @A')",
        "A = 1",
        "A = 2",
        other=("B = 10", "B = 11"),
    ),
    "metadata that the function reads": in_place(
        "import dagster as dg\n@dg.asset(metadata={'a': 1})\ndef asset(context):\n"
        "    return context.assets_def.metadata_by_key[context.asset_key]['a']",
        "'a': 1",
        "'a': 2",
    ),
    "metadata that a helper reads": read_by(
        "context.assets_def.metadata_by_key[context.asset_key]['a']"
    ),
    "metadata by way of the job": read_by(
        "context.job_def.asset_layer.get(context.asset_key).metadata['a']"
    ),
    "metadata by way of the repository": read_by(
        "context.repository_def.assets_defs_by_key[context.asset_key].metadata_by_key"
    ),
    "tags of the op": read_by("context.op.tags['c']"),
    "the default of an input of an op": in_place(
        "import dagster as dg\n@dg.op(ins={'x': dg.In(int, default_value=1)}, tags={'a': 'b'})\n"
        "def f(x):\n    return x\n@dg.graph_asset\ndef asset():\n    return f()",
        "default_value=1",
        "default_value=2",
        other=("'a': 'b'", "'a': 'c'"),
    ),
    "an accessor of pandas": by_helpers(
        "import pandas as pd\nfrom . import more\n" + ASSET + "pd.DataFrame().{pkg}.f()",
        more="import pandas as pd\nfrom .helpers import used\n"
        "@pd.api.extensions.register_dataframe_accessor('{pkg}')\nclass K:\n"
        "    def __init__(self, frame):\n        pass\n    def f(self):\n        return used()\n",
    ),
    "a namespace of polars": by_helpers(
        "import polars as pl\nfrom . import more\n" + ASSET + "pl.col('a').{pkg}.f()",
        more="from polars.api import register_expr_namespace\nfrom .helpers import used\n"
        "@register_expr_namespace('{pkg}')\nclass K:\n"
        "    def __init__(self, column):\n        pass\n    def f(self):\n        return used()\n",
    ),
    "a constant that a function gets": in_place(
        "import bisect\nA = [1, 3]\nbisect.insort(A, 5)\n" + ASSET + "A", "A, 5", "A, 6"
    ),
    "singledispatch": in_place(
        "import functools\n@functools.singledispatch\ndef f(x):\n    return 1\n"
        "@f.register\ndef _(x: int):\n    return 2\n" + ASSET + "f(3)",
        "    return 2",
        "    return 4",
    ),
    "the type that singledispatch goes by": in_place(
        "import functools\n@functools.singledispatch\ndef f(x):\n    return 1\n"
        "@f.register\ndef _(x: int):\n    return 2\n" + ASSET + "f(3)",
        "x: int",
        "x: str",
    ),
    "a constant": in_place(
        "A = 1\nB = 10\n" + ASSET + "A", "A = 1", "A = 2", other=("B = 10", "B = 11")
    ),
    "a constant that a constant uses": in_place(
        "A = 1\nB = 10\nC = A + 1\n" + ASSET + "C", "A = 1", "A = 2", other=("B = 10", "B = 11")
    ),
    "an annotated constant": in_place("A: int = 1\n" + ASSET + "A", "= 1", "= 2"),
    "the second assignment of a constant": in_place("A = 1\nA = 2\n" + ASSET + "A", "= 2", "= 3"),
    "an augmented constant": in_place("A = 1\nA += 2\n" + ASSET + "A", "+= 2", "+= 3"),
    "a constant in a tuple": in_place("A, B = 1, 2\n" + ASSET + "A", "= 1, 2", "= 3, 2"),
    "a branch of `if`": in_place(
        "import sys\nif sys.platform:\n    A = 1\nelse:\n    A = 2\n" + ASSET + "A",
        "A = 2",
        "A = 3",
    ),
    "the condition of `if`": in_place(
        "D = 1\nif D > 2:\n    A = 1\nelse:\n    A = 2\n" + ASSET + "A", "D > 2", "D > 0"
    ),
    "what the condition of `if` uses": in_place(
        "D = 1\nif D > 2:\n    A = 1\nelse:\n    A = 2\n" + ASSET + "A", "D = 1", "D = 5"
    ),
    "a branch that changes sides": in_place(
        "D = 1\nif D:\n    A = 1\nelse:\n    pass\n" + ASSET + "A",
        "    A = 1\nelse:\n    pass",
        "    pass\nelse:\n    A = 1",
    ),
    "a loop": in_place(
        "A = []\nfor i in range(3):\n    A.append(i)\n" + ASSET + "A", "range(3)", "range(4)"
    ),
    "the variable of a loop": in_place(
        "for i in range(3):\n    pass\n" + ASSET + "i", "range(3)", "range(4)"
    ),
    "`with`": in_place(
        "import contextlib\nwith contextlib.nullcontext(1) as A:\n    pass\n" + ASSET + "A",
        "(1)",
        "(2)",
    ),
    "`match`": in_place(
        "match 1:\n    case A:\n        B = 1\n" + ASSET + "B + A", "match 1", "match 2"
    ),
    "`:=` at the top": in_place("print(A := 1)\n" + ASSET + "A", ":= 1", ":= 2"),
    "a global that a function sets": in_place(
        "A = 1\ndef setup():\n    global A\n    A = 2\nsetup()\n" + ASSET + "A", "A = 2", "A = 3"
    ),
    "an option of a library": in_place(
        "import decimal\ndecimal.DefaultContext.prec = 28\n" + ASSET + "decimal.Decimal(1)",
        "= 28",
        "= 29",
    ),
    "a class": in_place(
        "class K:\n    a = 1\nclass L:\n    b = 10\n" + ASSET + "K().a",
        "a = 1",
        "a = 2",
        other=("b = 10", "b = 11"),
    ),
    "a method": in_place(
        "class K:\n    def f(self):\n        return self.g()\n    def g(self):\n        return 1\n"
        + ASSET
        + "K().f()",
        "        return 1",
        "        return 2",
    ),
    "what a method uses": by_helpers(
        "from .helpers import used\nclass K:\n    def f(self):\n        return used()\n"
        + ASSET
        + "K().f()"
    ),
    "a base class": by_helpers(
        "from .helpers import Base\nclass K(Base):\n    pass\n" + ASSET + "K().f()",
        HELPERS + "class Base:\n    f = lambda self: used()\n",
    ),
    "a metaclass": by_helpers(
        "from .helpers import Meta\nclass K(metaclass=Meta):\n    pass\n" + ASSET + "K.f()",
        HELPERS + "class Meta(type):\n    f = lambda self: used()\n",
    ),
    "a decorator of a class": by_helpers(
        "from .helpers import used, mark\n@mark\nclass K:\n    f = 1\n" + ASSET + "K.f",
        HELPERS + "def mark(c):\n    c.f = used()\n    return c\n",
    ),
    "a name of a class body that stands outside, too": in_place(
        "A = 1\nclass K:\n    A = A\n" + ASSET + "K.A", "A = 1", "A = 2"
    ),
    "a static method by its class": in_place(
        "class K:\n    @staticmethod\n    def f():\n        return 1\n" + ASSET + "K.f()",
        "return 1",
        "return 2",
    ),
    "a field of a dataclass": in_place(
        "from dataclasses import dataclass\n@dataclass\nclass K:\n    a: int = 1\n"
        + ASSET
        + "K().a",
        "a: int",
        "a: float",
    ),
    "a member of an enum": in_place(
        "import enum\nclass K(enum.Enum):\n    A = 1\n    B = 2\n" + ASSET + "K.A", "B = 2", "B = 3"
    ),
    "the class of an argument": by_helpers(
        "import dagster as dg\nfrom .helpers import K\n@dg.asset\ndef asset(model: K):\n"
        "    return model.f()",
        HELPERS + "class K:\n    def f(self):\n        return used()\n",
    ),
    "the class of a helper's argument": by_helpers(
        "import dagster as dg\nfrom .helpers import K\n@dg.asset\ndef asset(model):\n"
        "    return f(model)\ndef f(model: 'list[K]'):\n    return model[0].f()\n",
        HELPERS + "class K:\n    def f(self):\n        return used()\n",
    ),
    "a quoted class within the type of a helper's argument": by_helpers(
        "import dagster as dg\nfrom .helpers import K\n@dg.asset\ndef asset(model):\n"
        "    return f(model)\ndef f(model: list['K']):\n    return model[0].f()\n",
        HELPERS + "class K:\n    def f(self):\n        return used()\n",
    ),
    "the type of an argument, which decides what arrives": in_place(
        "import dagster as dg\nimport pandas as pd\nimport polars as pl\n@dg.asset\n"
        "def asset(x: pd.DataFrame):\n    return x",
        "x: pd.",
        "x: pl.",
    ),
    "an alias of the type of an argument": in_place(
        "import dagster as dg\nimport pandas as pd\nimport polars as pl\nFrame = pd.DataFrame\n"
        "@dg.asset\ndef asset(x: Frame):\n    return x",
        "= pd.",
        "= pl.",
    ),
    "another function by the same name": Case(
        "from .helpers import used as f\n" + ASSET + "f()",
        ("assets.py", "import used as", "import unused as"),
        None,
        {"helpers.py": "def used():\n    return 1\ndef unused():\n    return 1\n"},
    ),
    "names that change places": in_place(
        "from math import sin as f, cos as g\n" + ASSET + "f(1) + 2 * g(1)",
        "sin as f, cos as g",
        "cos as f, sin as g",
    ),
    "recursion": in_place(
        "def f(n):\n    return g(n - 1)\ndef g(n):\n    return f(n - 2) if n > 0 else 7\n"
        + ASSET
        + "f(9)",
        "else 7",
        "else 8",
    ),
    "a helper that is an asset itself": in_place(
        "import dagster as dg\n@dg.asset(group_name='a')\ndef other():\n    return 1\n"
        "@dg.asset\ndef asset():\n    return other()",
        "return 1",
        "return 2",
        other=("group_name='a'", "group_name='b'"),
    ),
    "text of a SQL file": Case(
        "from data_pipeline import sql_file\n" + ASSET + "sql_file('q.sql')",
        ("q.sql", "SELECT 1", "SELECT 2"),
        ("other.sql", "SELECT 1", "SELECT 2"),
        {"q.sql": "SELECT 1", "other.sql": "SELECT 1"},
    ),
    "text of a SQL file of a helper in a folder": Case(
        "from .sub import f\n" + ASSET + "f()",
        ("sub/sql/q.sql", "SELECT 1", "SELECT 2"),
        ("q.sql", "SELECT 1", "SELECT 2"),
        {
            "sub/__init__.py": "from data_pipeline import tables\n"
            "def f():\n    return tables.sql_file(path='sql/q.sql')\n",
            "sub/sql/q.sql": "SELECT 1",
            "q.sql": "SELECT 1",
        },
    ),
    "a decorator between the function and Dagster": by_helpers(
        "import dagster as dg\nfrom .helpers import used, wrap\n@dg.asset(name='asset')\n"
        "@wrap(used)\ndef asset():\n    return 1",
        HELPERS + "def wrap(g):\n    def deco(f):\n        def run():\n            return g(f())\n"
        "        return run\n    return deco\n",
    ),
    "the function below such a decorator": in_place(
        "import dagster as dg\ndef wrap(f):\n    def run():\n        return f()\n    return run\n"
        "@dg.asset(name='asset')\n@wrap\ndef asset():\n    return 1",
        "return 1",
        "return 2",
    ),
    "the function below a decorator of a library": in_place(
        "import contextlib, dagster as dg, functools\n@dg.asset(name='asset')\n"
        "@functools.lru_cache\ndef asset():\n    return 1",
        "return 1",
        "return 2",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_counts(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    project = MadeProject(tmp_path, {"assets.py": case.assets, **case.files})
    before = project.version()
    assert before.unresolved == []
    if case.does_not:
        project.edit(*case.does_not)
        assert project.version() == before
    project.edit(*case.counts)
    assert project.version().version != before.version


HIDING = {
    "an argument": "def f(A):\n    return A",
    "a local variable": "def f(x):\n    A = x\n    return A",
    "a variable of a comprehension": "def f(x):\n    return [A for A in x]",
    "a later comprehension": "def f(x):\n    return {B: A for B in x for A in B}",
    "an argument of a lambda": "def f(x):\n    return (lambda A: A)(x)",
    "`as` of an exception": "def f(x):\n    try:\n        x()\n    except E as A:\n        raise A",
    "`as` of `with`": "def f(x):\n    with x as A:\n        return A",
    "a pattern": "def f(x):\n    match x:\n        case [*A]:\n            return A",
    "a nested function": "def f(x):\n    def A():\n        pass\n    return A",
    "a variable of the function around": "def f(A):\n    def g():\n        return A\n    return g",
    "`nonlocal`": "def f(A):\n    def g():\n        nonlocal A\n        A += 1\n    return g",
    "`:=` in a comprehension": "def f(x):\n    y = [(A := i) for i in x]\n    return A",
    "an attribute": "def f(x):\n    return x.A",
    "a keyword": "def f(x):\n    return x(A=1)",
    "an import": "def f(x):\n    import math as A\n    return A.pi",
    "an attribute of a class": "class f:\n    def __init__(self, x):\n        self.A = x",
}


@pytest.mark.parametrize("name", HIDING)
def test_a_local_name_hides_the_one_of_the_module(tmp_path: Path, name: str) -> None:
    text = f"A = 1\nE = ValueError\n{HIDING[name]}\n{ASSET}f([])"
    project = MadeProject(tmp_path, {"assets.py": text})
    before = project.version()
    project.edit("assets.py", "A = 1", "A = 2")
    assert project.version() == before


def test_a_module_that_fills_a_table_since_an_edit_counts(tmp_path: Path) -> None:
    files = {
        "table.py": "TABLE = {}",
        "filling.py": "other = 1",
        "assets.py": f"from . import filling\nfrom .table import TABLE\n{ASSET}TABLE.get('a')",
    }
    project = MadeProject(tmp_path, files)
    before = project.version().version
    project.write("filling.py", "from .table import TABLE\nTABLE['a'] = 1\n")
    assert project.version().version != before
