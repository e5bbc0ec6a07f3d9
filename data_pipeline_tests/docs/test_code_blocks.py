"""Every code block of the documentation runs, page by page, as a reader would run it."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from data_pipeline_tests.docs.pages import DOCS, blocks, pages
from data_pipeline_tests.docs.reader import Reader
from data_pipeline_tests.launch.processes import environment

LONG = {
    "copy_function",
    "fresh_and_stable",
    "from_dagster",
    "from_pipedag",
    "index",  # whose commands are those of the README
    "instance_per_developer",
    "notebooks",
    "schedule",
    "tests",
}
"""Pages of many runs, by commands that other tests start."""


def _name(page: Path) -> str:
    return str(page.relative_to(DOCS.parent))


PAGES = [
    pytest.param(page, id=_name(page), marks=[pytest.mark.soak] if page.stem in LONG else [])
    for page in pages()
    if blocks(page)
]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_of_a_page_runs(page: Path, database_url: sa.URL, tmp_path: Path) -> None:
    url = database_url.set(drivername="postgresql").render_as_string(hide_password=False)
    urls = dict.fromkeys(["DATA_PIPELINE_DATABASE_URL", "DATA_PIPELINE_TEST_URL"], url)
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    reader = Reader(tmp_path, environment(**urls), engine)
    try:
        for block in blocks(page):
            try:
                reader.do(block)
            except Exception as error:
                pytest.fail(f"{_name(page)}:{block.line}, {block.language}: {error}")
    finally:
        reader.close()
