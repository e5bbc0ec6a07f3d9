"""The reader of pages notices what a person would."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from data_pipeline_tests.docs.pages import blocks
from data_pipeline_tests.docs.reader import Reader
from data_pipeline_tests.launch.processes import environment

PAGE = """
```python title="made.py"
number = 1
```

- In a list:

  ```python
  from made import number
  ```

<!-- hidden python
number += 1
-->
<!-- not run: it is wrong -->
```python
nonsense(
```

```python
assert number == 2
```
"""

WRONG = """
```python
assert number == 3
```
```sh
data-pipeline paln mini
```
```c
```
"""


def test_blocks_of_a_page_share_names_and_files(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    found = blocks(page)
    assert [block.line for block in found] == [2, 8, 12, 20]
    reader = Reader(tmp_path, environment(), sa.create_engine("postgresql+psycopg2://"))
    for block in found:
        reader.do(block)
    page.write_text(
        "```python\nassert number == 3\n```\n```sh\ndata-pipeline paln mini\n```\n```c\n```\n"
    )
    for block, told in zip(blocks(page), ["AssertionError", "No such command", "'c'"], strict=True):
        with pytest.raises(AssertionError, match=told):
            reader.do(block)
    reader.close()
