from pathlib import Path

import pytest

from data_pipeline.embedded import EmbeddedServer
from data_pipeline.embedded.postgresql_conf import shared_memory_type
from data_pipeline_tests.embedded.queries import ask, connect


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("synchronous_commit", "on"),
        ("wal_level", "minimal"),
        ("max_connections", "200"),
        ("server_encoding", "UTF8"),
        ("timezone", "UTC"),
        ("unix_socket_directories", ""),
    ],
)
def test_settings_are_safe_for_real_data(
    shared_server: EmbeddedServer, setting: str, value: str
) -> None:
    assert ask(shared_server.start(), f"SHOW {setting}") == value


def test_text_sorts_by_code_point_and_knows_unicode_case(shared_server: EmbeddedServer) -> None:
    sort = "SELECT array_agg(x ORDER BY x) FROM unnest(ARRAY['b', 'ä', 'B', 'a', 'Z', '_']) AS x"
    assert ask(shared_server.start(), sort) == ["B", "Z", "_", "a", "b", "ä"]
    assert ask(shared_server.start(), "SELECT upper('äöé')") == "ÄÖÉ"


def test_settings_of_the_user_win(server: EmbeddedServer) -> None:
    with (server.data / "postgresql.conf").open("a") as file:
        file.write("work_mem = '123MB'\n")
    connection = connect(server.start())
    with connection.cursor() as cursor:
        cursor.execute("ALTER SYSTEM SET max_connections = 50")
    connection.close()
    server.stop()
    url = server.start()
    assert ask(url, "SHOW work_mem") == "123MB"
    assert ask(url, "SHOW max_connections") == "50"


def test_small_shared_memory_is_not_relied_on() -> None:
    proc = Path("/proc")  # a file system of size 0, like a tiny /dev/shm
    if not proc.exists():
        pytest.skip("NOT TESTED: this system has no small file system to look at")
    assert shared_memory_type(proc) == "mmap"


def test_a_server_works_without_shared_memory_file_system(server: EmbeddedServer) -> None:
    """With `mmap`, parallel queries share memory through the data directory."""
    with (server.data / "postgresql.conf").open("a") as file:
        file.write("dynamic_shared_memory_type = mmap\n")
    connection = connect(server.start())
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t AS SELECT generate_series(1, 10000) AS n")
        cursor.execute("SET min_parallel_table_scan_size = 0")
        cursor.execute("SET parallel_setup_cost = 0")
        cursor.execute("SET parallel_tuple_cost = 0")
        cursor.execute("SELECT sum(n) FROM t")
        assert cursor.fetchone() == (50005000,)
    connection.close()
