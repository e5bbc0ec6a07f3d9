"""Fills `{$NAME}` (environment variables) and `{name}` (values of the instance) into texts."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from data_pipeline.instances.environment import Environment
from data_pipeline.instances.merged_layers import Located, problem, suggestion

_TOKEN = re.compile(
    r"(?P<literal>\{\{|\}\})"
    r"|\{\$(?P<variable>[A-Za-z_]\w*)\}"
    r"|\{(?P<name>[A-Za-z_]\w*)\}"
    r"|(?P<lone>[{}])"
)


@dataclass(frozen=True)
class Placeholders:
    """What can be filled in for one instance."""

    file: Path
    environment: Environment
    names: Mapping[str, Callable[[], str]]
    """Values of `{name}`, each computed only where it is used."""

    def fill(self, text: Located) -> str:
        """Return the text with its placeholders filled in.

        Raises:
            ConfigurationError: A variable is not set, a name is unknown, or a brace stands alone.
        """
        return _TOKEN.sub(lambda match: self._value(match, text.key), text.value)

    def fill_url(self, text: Located, url_attrs: Callable[[], Mapping[str, str] | None]) -> str:
        """Return the URL with its placeholders filled in, each value percent-quoted.

        An environment variable at the very beginning is taken as it is: it holds (the beginning
        of) a URL, not a part such as a password.

        Args:
            text: The URL as it stands in the file.
            url_attrs: Gives the content of `url_attrs_file` if there is one; called only when the
                URL has a `{name}`. Its keys win over the names of the instance.
        """

        def value(match: re.Match[str]) -> str:
            name = match["name"]
            attrs = url_attrs() if name else None
            if attrs is not None and name in attrs:
                return quote(attrs[name], safe="")
            if attrs is not None and name not in self.names:
                what = f"url_attrs_file has no key '{name}', which {{{name}}} asks for"
                raise problem(self.file, text.key, what, f"Add '{name}' to that file.")
            plain = self._value(match, text.key)
            verbatim = match["literal"] or (match["variable"] and match.start() == 0)
            return plain if verbatim else quote(plain, safe="")

        return _TOKEN.sub(value, text.value)

    def fill_tree(self, tree: Any) -> Any:
        """Return a tree of `Located` values as a tree of plain ones, each text filled in."""
        if isinstance(tree, Located):
            return self._fill_value(tree)
        return {name: self.fill_tree(value) for name, value in tree.items()}

    def _fill_value(self, located: Located) -> Any:
        value, key = located
        if isinstance(value, str):
            return self.fill(located)
        if isinstance(value, list):
            return [self._fill_value(Located(item, f"{key}[{n}]")) for n, item in enumerate(value)]
        if isinstance(value, dict):  # inside a list, where mappings do not merge
            return {
                name: self._fill_value(Located(item, f"{key}.{name}"))
                for name, item in value.items()
            }
        return value

    def _value(self, match: re.Match[str], key: str) -> str:
        if match["literal"]:
            return match["literal"][0]
        if match["lone"]:
            what = "a brace stands alone"
            raise problem(self.file, key, what, "Write a literal brace twice: '{{' or '}}'.")
        if match["variable"]:
            return self._variable(match["variable"], key)
        name = match["name"]
        if name not in self.names:
            remedy = suggestion(name, self.names)
            literal = f"Literal braces are written {{{{{name}}}}}."
            if key.endswith(".url"):
                literal = f"Or name a YAML file with a key '{name}' in url_attrs_file. {literal}"
            raise problem(self.file, key, f"unknown placeholder {{{name}}}", f"{remedy} {literal}")
        return self.names[name]()

    def _variable(self, name: str, key: str) -> str:
        value = self.environment.variable(name)
        if value is None:
            what = f"environment variable '{name}' is not set, and {{${name}}} asks for it"
            raise problem(self.file, key, what, f"Set {name}, or write the value here instead.")
        return value
