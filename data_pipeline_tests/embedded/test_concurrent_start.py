from pathlib import Path
from typing import Any

from data_pipeline.embedded import EmbeddedServer
from data_pipeline_tests.embedded.processes import LIBRARIES, postmaster_of
from data_pipeline_tests.embedded.queries import ask
from data_pipeline_tests.launch import forked
from data_pipeline_tests.patience import PATIENCE


def start(home: Path, gate: Any, urls: Any) -> None:
    gate.wait(PATIENCE)
    urls.put(EmbeddedServer(home).start().render_as_string(hide_password=False))


def test_six_processes_that_start_at_once_share_one_server(home: Path) -> None:
    with forked.ready(LIBRARIES):
        gate, urls = forked.PROCESSES.Barrier(6), forked.PROCESSES.Queue()
        processes = [
            forked.PROCESSES.Process(target=start, args=(home, gate, urls)) for _ in range(6)
        ]
        for process in processes:
            process.start()
        (url,) = {urls.get(timeout=PATIENCE) for _ in processes}
        for process in processes:
            process.join(PATIENCE)
            assert process.exitcode == 0
    assert postmaster_of(home / "postgres" / "data").is_running()
    assert ask(url, "SELECT 1") == 1
