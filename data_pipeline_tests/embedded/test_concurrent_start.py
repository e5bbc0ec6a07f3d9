from pathlib import Path

from data_pipeline_tests.embedded.processes import go, postmaster_of, start_in_process
from data_pipeline_tests.embedded.queries import ask


def test_six_processes_that_start_at_once_share_one_server(home: Path) -> None:
    processes = [start_in_process(home) for _ in range(6)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    urls = {go(process) for process in processes}
    (url,) = urls
    assert postmaster_of(home / "postgres" / "data").is_running()
    assert ask(url, "SELECT 1") == 1
