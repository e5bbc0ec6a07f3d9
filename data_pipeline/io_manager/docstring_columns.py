"""What the docstring of an asset says of its columns, in the section `Columns:`."""

import inspect
import re

_SECTION = re.compile(r"(?P<indent> *)Columns:\s*$")
_ITEM = re.compile(r"(?P<name>\w+|`[^`]+`)\s*:\s*(?P<text>.*)$")


def columns_of_text(text: str) -> dict[str, str]:
    """Return what the section `Columns:` of a docstring says of columns, by column.

    It is written like `Args:`, a column a line; what is indented further continues a line.
    """
    lines = iter(inspect.cleandoc(text).splitlines())
    section = next((match for line in lines if (match := _SECTION.match(line))), None)
    found: dict[str, str] = {}
    depth = name = None
    for line in lines if section else ():
        indent = len(line) - len(line.lstrip())
        if line.strip() and indent <= len(section["indent"] if section else ""):
            break
        depth = indent if depth is None and line.strip() else depth
        item = _ITEM.match(line.strip()) if indent == depth else None
        if item:
            name = item["name"].strip("`")
            found[name] = item["text"]
        elif name and line.strip():
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found
