"""The code blocks of a page, and what a reader does with them.

| block | what becomes of it |
|---|---|
| with `title="path"` | it is written to that file of the page's folder |
| `python` | it is run, in one process for the page |
| `sh` | each line is run: `data-pipeline` and `pytest` in a fork, others by what they mean |
| `sql` | it is run in the page's database |
| `yaml` | it must fit into the page's `instances.yaml` |
| `text`, `mermaid` | nothing: what a command prints, and pictures |

`<!-- hidden python` and `-->` (or `sh`, `sql`) enclose what no reader sees, but runs in its place;
`<!-- not run: why -->` lets the next block be.
"""

import re
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
_BLOCK = re.compile(
    r"<!-- hidden (?P<kind>\w+)\n(?P<hidden>.*?)-->"
    r"|<!-- not run: (?P<why>[^>]+?) -->"
    r"|^(?P<indent> *)```(?P<language>\w*)(?P<options>[^\n]*)\n(?P<text>.*?)^(?P=indent)```",
    re.DOTALL | re.MULTILINE,
)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Attributes:
        language: As it is written.
        text: Its lines, without the indentation of the list that it stands in.
        line: The line of the page that it begins in.
        title: The file that it stands for.
    """

    language: str
    text: str
    line: int
    title: str | None = None


def pages() -> list[Path]:
    """All pages, and the README."""
    return [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page that are to be run, in their order."""
    text, found, is_left_out = page.read_text(encoding="utf-8"), [], False
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if match["why"]:
            is_left_out = True
        elif match["kind"]:
            found.append(Block(match["kind"], match["hidden"], line))
        elif is_left_out:
            is_left_out = False
        else:
            indent = len(match["indent"])
            lines = [item[indent:] for item in match["text"].splitlines()]
            title = _TITLE.search(match["options"])
            language, body = match["language"], "\n".join(lines) + "\n"
            found.append(Block(language, body, line, title[1] if title else None))
    return found
