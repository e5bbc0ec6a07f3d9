"""Figures of matplotlib, altair and plotly as pictures that the web UI shows.

None of these libraries is imported here: an object of theirs brings what it takes along.
"""

import base64
import io
from collections.abc import Callable
from typing import Any

import dagster as dg

_MOST_BYTES = 1_000_000
"""Larger pictures would make Dagster's event log slow; the blob has them as they are."""


def figure_metadata(obj: Any) -> dict[str, Any]:
    """Return the metadata that shows an object that is a figure; none for another one."""
    draw = _drawing(obj)
    if draw is None:
        return {}
    try:
        picture = draw()
    except Exception as error:  # libraries that draw are optional, and figures may be broken
        first = next(iter(str(error).splitlines()), "")
        return {"figure": f"It cannot be drawn here: {type(error).__name__}: {first}"}
    if len(picture) > _MOST_BYTES:
        return {"figure": f"It is not shown, since its picture has {len(picture):,} bytes."}
    text = base64.b64encode(picture).decode()
    return {"figure": dg.MetadataValue.md(f"![figure](data:image/png;base64,{text})")}


def _drawing(obj: Any) -> Callable[[], bytes] | None:
    """Return what draws a figure as PNG."""
    for kind in type(obj).__mro__:
        library, name = kind.__module__.partition(".")[0], kind.__name__
        if (library, name) == ("matplotlib", "Figure"):
            return lambda: _saved(obj.savefig, bbox_inches="tight", dpi=90)
        if (library, name) == ("altair", "TopLevelMixin"):
            return lambda: _saved(obj.save)
        if (library, name) == ("plotly", "BaseFigure"):
            return lambda: bytes(obj.to_image(format="png"))
    return None


def _saved(save: Callable[..., object], **options: Any) -> bytes:
    buffer = io.BytesIO()
    save(buffer, format="png", **options)
    return buffer.getvalue()
