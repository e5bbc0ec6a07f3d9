"""Values that code reads when it runs, so that its source does not tell them.

Environment variables, files, the clock, random numbers, what programs and servers say: the code
stays the same while what it gives does not.
"""

import ast
import functools
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.code_version.module_source import READING_METHODS
from data_pipeline.code_version.names_used import Reference
from data_pipeline.code_version.value_origins import OURS, PATH, Origins

SOURCE_KEY = "data_pipeline/source"
"""The metadata of an asset that declares its source; see `sources/fingerprints.py`."""


@dataclass(frozen=True, order=True)
class ValueRead:
    """A place where code reads a value.

    Attributes:
        place: Where (`file:line`).
        what: What is read, in words.
        generator: The generator that a random number comes from, if seeding it makes it certain.
    """

    place: str
    what: str
    generator: str | None = None


Rule = Callable[[Reference, Origins], bool]
"""Says whether a use of a name reads something."""


def values_read(
    path: Path, uses: Iterable[tuple[Reference, str]], origins: Origins
) -> Iterator[ValueRead]:
    """Return what code reads by names of libraries.

    Args:
        path: The file that it stands in.
        uses: The references to such names, each with its full name.
        origins: Tells what made the arguments.
    """
    for reference, name in uses:
        known = _known(name)
        if known is None or reference.written:
            continue
        what, rule, generator = known
        if rule(reference, origins):
            place = f"{path}:{reference.line}"
            yield ValueRead(place, f"{what} (`{reference.text}`)", generator)


def files_read(path: Path, origins: Origins) -> Iterator[ValueRead]:
    """Return what code reads by the methods of paths.

    Args:
        path: The file that it stands in.
        origins: Tells what made the values whose methods these are.
    """
    for call, function in origins.method_calls(READING_METHODS):
        made_by = origins.of(function.value)
        # Much else can be opened; hardly anything else has the other names.
        opened = made_by == PATH and _is_read(call, 0)
        if opened or (function.attr != "open" and made_by != OURS):
            yield ValueRead(f"{path}:{function.end_lineno}", f"{_FILE} (`.{function.attr}`)")


def generators_seeded(uses: Iterable[tuple[Reference, str]]) -> frozenset[str]:
    """Return the generators of random numbers that code gives a seed."""
    return frozenset(
        name.removesuffix(".seed")
        for reference, name in uses
        if name in ("random.seed", "numpy.random.seed") and _is_seeded(reference)
    )


_ENVIRONMENT = "an environment variable"
_FILE = "a file"
_CLOCK = "the clock"
_CHANCE = "a random number"
_PROGRAM = "what another program says"
_SERVER = "what a server says"


def _always(reference: Reference, origins: Origins) -> bool:
    return True


def _without(count: int) -> Rule:
    """Return the rule of a function that reads unless it gets so many arguments."""

    def rule(reference: Reference, origins: Origins) -> bool:
        return reference.call is None or len(_arguments(reference)) < count

    return rule


def _unseeded(reference: Reference, origins: Origins) -> bool:
    return reference.call is not None and not _is_seeded(reference)


def _is_seeded(reference: Reference) -> bool:
    given = _arguments(reference)
    return bool(given) and not (isinstance(given[0], ast.Constant) and given[0].value is None)


def _says_now(reference: Reference, origins: Origins) -> bool:
    said = [getattr(value, "value", None) for value in _arguments(reference)[:1]]
    return said in (["now"], ["today"])


def _of_variable(reference: Reference, origins: Origins) -> bool:
    return reference.after_call[:1] == ("get_value",)


def _of_file(reference: Reference, origins: Origins) -> bool:
    """Whether a file is read by its name; of one that was opened before, that is said."""
    given = _arguments(reference)
    made_by = origins.of(given[0]) if given else None
    return made_by not in _BUFFERS and made_by not in _OPENING


def _opened(reference: Reference, origins: Origins) -> bool:
    if reference.call is None:
        return True
    return _is_read(reference.call, 1) and _of_file(reference, origins)


def _class_opened(reference: Reference, origins: Origins) -> bool:
    return reference.call is not None and _opened(reference, origins)


def _is_read(call: ast.Call, position: int) -> bool:
    """Whether a file is opened to be read, as far as its mode does not say otherwise."""
    modes = [item.value for item in call.keywords if item.arg == "mode"]
    mode = next(iter([*call.args[position : position + 1], *modes]), None)
    said = getattr(mode, "value", None)
    return not isinstance(said, str) or "+" in said or not set(said) & set("wax")


def _arguments(reference: Reference) -> list[ast.expr]:
    call = reference.call
    return [*call.args, *(item.value for item in call.keywords)] if call else []


_BUFFERS = frozenset({"io.BytesIO", "io.StringIO"})
_OPENING = frozenset(
    {f"{module}.open" for module in ("builtins", "bz2", "codecs", "gzip", "io", "lzma")}
)
_TABLE: tuple[tuple[str, Rule, str], ...] = (
    (_ENVIRONMENT, _always, "os.environ os.environb os.getenv os.getenvb"),
    (_ENVIRONMENT, _of_variable, "dagster.EnvVar"),
    (_ENVIRONMENT, _always, "pydantic_settings.BaseSettings"),
    (_PROGRAM, _always, "os.popen subprocess.check_output subprocess.getoutput"),
    (_PROGRAM, _always, "subprocess.Popen subprocess.run"),
    (_SERVER, _always, "urllib.request.urlopen urllib.request.urlretrieve"),
    (_SERVER, _always, "requests.get requests.post requests.request requests.Session"),
    (_SERVER, _always, "httpx.get httpx.post httpx.request httpx.Client"),
    (_FILE, _opened, " ".join(_OPENING)),
    (_FILE, _always, "jinja2.FileSystemLoader jinja2.PackageLoader joblib.load"),
    (_FILE, _always, "jinja2.loaders.FileSystemLoader jinja2.loaders.PackageLoader"),
    (_FILE, _class_opened, "io.FileIO tarfile.open zipfile.ZipFile"),
    (_FILE, _always, "io.open_code pkgutil.get_data"),
    (_FILE, _always, "pathlib.Path.read_text pathlib.Path.read_bytes pathlib.Path.open"),
    (_FILE, _always, "importlib.resources.read_text importlib.resources.read_binary"),
    (_FILE, _always, "importlib.resources.open_text importlib.resources.open_binary"),
    (_FILE, _of_file, "pandas.ExcelFile pandas.HDFStore pyarrow.parquet.ParquetFile"),
    (_FILE, _always, "linecache.getline linecache.getlines pyarrow.dataset.dataset"),
    (_FILE, _always, "openpyxl.load_workbook sqlite3.connect"),
    (_FILE, _of_file, "numpy.fromfile numpy.genfromtxt numpy.load numpy.loadtxt"),
    (_CLOCK, _always, "time.time time.time_ns time.clock_gettime time.clock_gettime_ns"),
    (_CLOCK, _without(1), "time.asctime time.ctime time.gmtime time.localtime"),
    (_CLOCK, _without(2), "time.strftime"),
    (_CLOCK, _always, "datetime.datetime.now datetime.datetime.today datetime.datetime.utcnow"),
    (_CLOCK, _always, "datetime.date.today"),
    (_CLOCK, _always, "pandas.Timestamp.now pandas.Timestamp.today pandas.Timestamp.utcnow"),
    (_CLOCK, _always, "pandas.Period.now"),
    (_CLOCK, _says_now, "pandas.Timestamp pandas.to_datetime numpy.datetime64"),
    (_CHANCE, _always, "uuid.uuid1 uuid.uuid4 uuid.uuid6 uuid.uuid7 os.getrandom os.urandom"),
    (_CHANCE, _always, "random.SystemRandom"),
    (_CHANCE, _unseeded, "random.Random random.seed numpy.random.default_rng numpy.random.seed"),
    (_CHANCE, _unseeded, "numpy.random.RandomState numpy.random.SeedSequence numpy.random.MT19937"),
    (_CHANCE, _unseeded, "numpy.random.PCG64 numpy.random.PCG64DXSM numpy.random.Philox"),
    (_CHANCE, _unseeded, "numpy.random.SFC64"),
)
_RULES = {name: (what, rule, None) for what, rule, names in _TABLE for name in names.split()}

_NOT_READ = frozenset(
    {f"os.environ.{name}" for name in ("clear", "setdefault", "update")}
    | {"numpy.random.get_state", "numpy.random.set_state", "secrets.compare_digest"}
)
_DRAWING = frozenset(random.__all__) - {"Random", "SystemRandom", "getstate", "seed", "setstate"}
_OF_DATABASES = ("read_sql", "read_database", "read_gbq", "read_clipboard")


@functools.cache
def _known(name: str) -> tuple[str, Rule, str | None] | None:
    """Return what is known of a name: what it reads, when it does, and from which generator."""
    if name in _NOT_READ:
        return None
    owner, _, last = name.rpartition(".")
    if name in _RULES or owner in _RULES:  # `os.environ.get` of `os.environ`
        return _RULES.get(name) or _RULES[owner]
    if owner == "secrets":
        return _CHANCE, _always, None
    if owner == "random" and last in _DRAWING:
        return _CHANCE, _always, owner
    if owner == "numpy.random" and last.islower():
        return _CHANCE, _always, owner
    if last.startswith(("read_", "scan_")) and not last.startswith(_OF_DATABASES):
        library = owner.partition(".")[0]
        return (_FILE, _of_file, None) if library in ("pandas", "polars", "pyarrow") else None
    return None
