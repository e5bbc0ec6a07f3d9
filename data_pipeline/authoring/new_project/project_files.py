"""The files of a new project that `data-pipeline init` writes, and their texts."""

import importlib.metadata
import importlib.util
import json
import keyword
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from data_pipeline.authoring.new_project.from_database import ATTRS_FILE, SourceDatabase
from data_pipeline.errors import ConfigurationError
from data_pipeline.sources.raw_assets import without_accents
from data_pipeline.sources.source_catalog import write_catalog_file

_TEXTS = Path(__file__).resolve().parent
_PLACES = {
    "gitignore": ".gitignore",
    "test_pipeline.py": "tests/test_pipeline.py",
    # `dagster dev` warns of one in the folder that it is started in.
    "dagster.yaml": "settings/dagster.yaml",
}
_STAGES = ("raw", "inputs", "clean", "report")
_SAMPLES = {
    "midi": "      sample: {roots: {orders: {rate: 0.1}}, salt: 0}",
    "mini": "      sample: {roots: {orders: {rows: 20}}, salt: 0, cover: off}",
}


def write_project(
    folder: Path, *, example: bool = False, database: SourceDatabase | None = None
) -> str:
    """Write the files of a new project, which runs as it is.

    Args:
        folder: Where; it may exist, but have none of the files.
        example: Whether to add a stage with a model and a view.
        database: What it loads; None: a source that is made up.

    Returns:
        The name of the package.

    Raises:
        ConfigurationError: One of the files is there already, or cannot be written.
    """
    package = _package_name(folder.resolve().name)
    texts = _texts(package, example=example, database=database)
    if there := sorted(path for path in texts if (folder / path).exists()):
        raise ConfigurationError(
            f"{folder} has {', '.join(there)} already; nothing was written. Name another folder."
        )
    try:
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).touch(mode=0o600 if path == ATTRS_FILE else 0o666)
            (folder / path).write_text(text, encoding="utf-8")
        if database is not None:
            write_catalog_file(folder / package / "raw.source.json", database.catalog)
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename} cannot be written ({error.strerror}). Name another folder."
        ) from error
    return package


def _texts(package: str, *, example: bool, database: SourceDatabase | None) -> Mapping[str, str]:
    """Return the texts of all files by their paths in the project."""
    stages = (*_STAGES, "forecast") if example else _STAGES if database is None else _STAGES[:3]
    words = {
        "package": package,
        "distribution": package.replace("_", "-"),
        "requirement": requirement(),
        "python": sys.executable,
        "modules": ", ".join(sorted(stages)),
        "assets": ", ".join(f"*{stage}.assets" for stage in stages),
        "stages": ", ".join(f"`{package}/{stage}.py`" for stage in stages[2:]),
        **_SAMPLES,
    }
    folders = ["top", "package", *(["example"] if example else [])]
    if database is not None:
        words |= {**database.samples(), **database.first_table(), "arguments": database.arguments()}
        words["requirement"] = words["requirement"].replace(
            "[embedded", f"[embedded{database.extra}"
        )
        folders.append("from_database")
    texts = {}
    for name in folders:
        where = "" if name == "top" else f"{package}/"
        for file in sorted((_TEXTS / name).iterdir()):
            path = _PLACES.get(file.stem, where + file.stem)
            texts[path] = _filled(file.read_text(encoding="utf-8"), words)
    if database is not None:
        del texts[f"{package}/report.py"]
        texts |= _of_attrs(database, texts)
    return texts


def _of_attrs(database: SourceDatabase, texts: Mapping[str, str]) -> Mapping[str, str]:
    """Return the file with user and password of the source, and what keeps it out of Git."""
    if not database.attrs:
        return {}
    attrs = yaml.safe_dump(dict(database.attrs), allow_unicode=True, sort_keys=False)
    return {
        ATTRS_FILE: f"# Where the source is, with its password; Git ignores this file.\n{attrs}",
        ".gitignore": f"{texts['.gitignore']}{ATTRS_FILE}\n",
    }


def _filled(text: str, words: Mapping[str, str]) -> str:
    return re.sub(r"@([a-z]+)@", lambda match: words[match[1]], text)


def _package_name(name: str) -> str:
    """Return a name for the package that no other module has."""
    plain = re.sub(r"\W+", "_", without_accents(name)).strip("_").lower()
    plain = f"p{plain}" if not plain or plain[0].isdigit() else plain
    taken = keyword.iskeyword(plain) or plain in (*sys.stdlib_module_names, "tests")
    return f"{plain}_pipeline" if taken or importlib.util.find_spec(plain) else plain


def requirement() -> str:
    """Return this package as a requirement of a project: from where it was installed."""
    try:
        found = importlib.metadata.distribution("data-pipeline")
    except importlib.metadata.PackageNotFoundError:  # it is only on the path
        return "data-pipeline[embedded]"
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    url = origin.get("url")
    if url is None:
        return f"data-pipeline[embedded]>={found.version}"
    version = origin.get("vcs_info")
    place = f"{version['vcs']}+{url}@{version['commit_id']}" if version else url
    return f"data-pipeline[embedded] @ {place}"
