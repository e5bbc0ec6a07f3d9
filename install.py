"""Install this project into the environment of the Python that runs this: `make install` calls it.

uv does in seconds what takes pip a minute. It does not read pip's settings, so they are handed to
it, and where there is one that it has no word for, or uv fails, pip installs.

Usage: python install.py EXTRA...
"""

import ast
import os
import subprocess
import sys

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
PINNED = ["--quiet", "--constraint", "constraints.txt"]
WORDS = {
    "cert": "SSL_CERT_FILE",
    "constraint": "UV_CONSTRAINT",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "index-url": "UV_DEFAULT_INDEX",
}
"""Settings of pip, with the variables of uv that mean the same."""
SECTIONS = ("global", "install", ":env:")
"""Where settings stand, the ones that take precedence last."""
NO_MATTER = {"default-timeout", "timeout", "disable-pip-version-check", "root-user-action", "quiet"}


def main(extras: list[str]) -> None:
    """Install the project with some extras, as it is in this folder."""
    wanted = [*PINNED, "--editable", f".[{','.join(extras)}]"]
    if not by_uv(wanted):
        subprocess.run([*PIP, "install", *wanted], check=True)


def by_uv(wanted: list[str]) -> bool:
    """Install something by uv; whether that went well."""
    variables = for_uv(subprocess.run([*PIP, "config", "list"], capture_output=True, text=True))
    if variables is None:
        return False
    get = [*PIP, "install", *PINNED, "uv"]
    install = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
    environment = {**os.environ, **variables}
    if any(subprocess.run(c, env=environment).returncode for c in (get, [*install, *wanted])):
        print("uv could not install it, so pip does.")
        return False
    return True


def for_uv(listed: subprocess.CompletedProcess[str]) -> dict[str, str] | None:
    """Return pip's settings as variables of uv; None where uv has no word for one of them.

    Args:
        listed: What `pip config list` has printed.
    """
    found: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in listed.stdout.splitlines():
        key, _, value = line.partition("=")
        section, _, setting = key.rpartition(".")
        if section in SECTIONS and setting not in NO_MATTER:
            found[section][setting] = ast.literal_eval(value)
    settings = {name: value for section in SECTIONS for name, value in found[section].items()}
    if listed.returncode != 0 or not settings.keys() <= WORDS.keys():
        return None
    variables = {WORDS[name]: " ".join(value.split()) for name, value in settings.items()}
    if links := settings.get("find-links"):
        variables[WORDS["find-links"]] = ",".join(links.split())
    # pip takes the best version of all indexes.
    return {**variables, "UV_INDEX_STRATEGY": "unsafe-best-match"}


if __name__ == "__main__":
    main(sys.argv[1:])
