"""Every code block of the documentation runs, page by page, as a reader would run it."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from data_pipeline_tests.docs.pages import DOCS, blocks, pages
from data_pipeline_tests.docs.reader import Reader
from data_pipeline_tests.launch.processes import environment


def _name(page: Path) -> str:
    return str(page.relative_to(DOCS.parent))


@pytest.mark.parametrize("page", [page for page in pages() if blocks(page)], ids=_name)
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
