"""A database in which the project runs, with what its users have built on its tables."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from data_pipeline.database.connection import database
from data_pipeline.embedded import EmbeddedServer
from data_pipeline.instances import Instance, load_configuration
from data_pipeline_tests.proofs import launching, runs
from data_pipeline_tests.proofs.invariants import Moment, broken
from data_pipeline_tests.proofs.launched import Launched
from data_pipeline_tests.proofs.project.generations import HOLD
from data_pipeline_tests.proofs.runs import IN_PROCESS, Outcome
from data_pipeline_tests.proofs.tally import TALLY

SETTINGS = "settings"
"""The file with the environment of the run that was launched last, for workers."""

CONFIGURATION = Path(__file__).parent / "project" / "instances.yaml"

_BUILT_BY_USERS = """
CREATE SCHEMA reports;
CREATE TABLE reports.expected (kind text, name text, reader text, text text);
CREATE VIEW reports.overview AS
    SELECT t.id, t.total, r.rank, s.customers, s.generation
    FROM full_shop.totals t JOIN full_shop.ranks r USING (id) CROSS JOIN full_shop.summary s;
CREATE VIEW reports.best AS SELECT * FROM reports.overview WHERE rank > 190;
CREATE VIEW full_shop.analyst_large AS
    SELECT l.id, l.amount, b.rank FROM full_shop.large l JOIN reports.best b ON b.id = l.customer;
CREATE MATERIALIZED VIEW reports.sums AS
    SELECT generation, sum(total) AS total FROM full_shop.totals GROUP BY generation;
CREATE VIEW reports.across AS
    SELECT m.id FROM midi_ping.forehand m JOIN full_ping.forehand f USING (id);
CREATE FUNCTION reports.total_of(bigint) RETURNS bigint
    BEGIN ATOMIC SELECT total FROM full_shop.totals WHERE id = $1; END;
COMMENT ON TABLE full_shop.totals IS 'read by the analysts';
GRANT USAGE ON SCHEMA full_shop, full_ping, reports TO {reader};
GRANT SELECT ON full_shop.totals, full_shop.analyst_large, full_ping.forehand TO {reader};
GRANT SELECT ON reports.overview, reports.best, reports.sums, reports.across TO {reader};
INSERT INTO reports.expected (kind, name, reader, text) VALUES
    ('grant', 'full_shop.totals', '{reader}', NULL),
    ('grant', 'full_shop.analyst_large', '{reader}', NULL),
    ('grant', 'full_ping.forehand', '{reader}', NULL),
    ('grant', 'reports.overview', '{reader}', NULL),
    ('grant', 'reports.best', '{reader}', NULL),
    ('grant', 'reports.sums', '{reader}', NULL),
    ('grant', 'reports.across', '{reader}', NULL),
    ('revoked', 'full_shop.summary', '{reader}', NULL),
    ('revoked', 'full_shop.ranks', '{reader}', NULL),
    ('function', 'reports.total_of(bigint)', NULL, NULL),
    ('comment', 'full_shop.totals', NULL, 'read by the analysts');
"""


@dataclass
class World:
    """Where the project runs: a database and a folder.

    Attributes:
        folder: For the home of the project, and for what its runs write.
        url: The database; None: the embedded server of the home.
        superuser_url: The same database for a superuser; None: `url` is one.
        module: The definitions that run unless others are named.
        more: What the environment of all runs has besides.
        storage: Dagster's for runs in this process; None: a new one for each, in memory.
        launched: All runs in processes of their own.
    """

    folder: Path
    url: sa.URL | None
    module: str = IN_PROCESS
    superuser_url: sa.URL | None = None
    more: dict[str, str] = field(default_factory=dict)
    storage: dg.DagsterInstance | None = None
    launched: list[Launched] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def server(self) -> EmbeddedServer:
        """The embedded server, if the world has one."""
        return EmbeddedServer(self.home)

    @property
    def engine(self) -> sa.Engine:
        """Connections to the database; the embedded server is started."""
        url = self.url or self.server.start()
        return sa.create_engine(url.set(drivername="postgresql+psycopg2"), poolclass=sa.NullPool)

    def environment(self, generation: int, **more: str) -> dict[str, str]:
        """Gives the environment of a run."""
        ours = ("DAGSTER_", "DATA_PIPELINE_", "PROOF_")
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(ours) or name == "DATA_PIPELINE_PG_BINDIR"
        }
        if self.url is not None:
            url = self.url.set(drivername="postgresql").render_as_string(hide_password=False)
            kept["DATA_PIPELINE_DATABASE_URL"] = url
        return {
            **kept,
            "DATA_PIPELINE_CONFIG": str(CONFIGURATION),
            "DATA_PIPELINE_HOME": str(self.home),
            "PROOF_GENERATION": str(generation),
            "PROOF_REPLACE": "table",
            "PROOF_STEP_WAIT": "86400",
            "PROOF_CALLS": str(self.folder / "calls"),
            **self.more,
            **more,
        }

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Gives what a query finds."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]

    def execute(self, statements: str) -> None:
        """Does what a user of the database does beside the pipeline."""
        with self.engine.begin() as connection:
            options = {"no_parameters": True}
            connection.exec_driver_sql(statements, execution_options=options)

    def build_on_tables(self, reader: str) -> None:
        """Builds views, a function and more on tables of `full` and `midi`, which must exist.

        Args:
            reader: A role that is granted some of it.
        """
        self.execute(_BUILT_BY_USERS.format(reader=reader))

    def pace(self, seconds: float) -> None:
        """Sets how long each SQL asset takes at least, from the next session on."""
        name = self.rows("SELECT quote_ident(current_database())")[0][0]
        engine = self.engine
        if self.superuser_url is not None:
            engine = sa.create_engine(self.superuser_url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET proof.pace = '{seconds}'")

    def launch(
        self,
        generation: int,
        instance: str = "full",
        *,
        module: str | None = None,
        by_command: bool = False,
        resumes: Launched | None = None,
        **more: str,
    ) -> Launched:
        """Starts a run in a process of its own; `more` goes to its environment."""
        environment = self._told_to_workers(generation, **more)
        run = launching.launch(
            module or self.module,
            instance,
            environment=environment,
            folder=self.folder,
            by_command=by_command,
            resumes=resumes,
        )
        self.launched.append(run)
        TALLY.runs += 1
        return run

    def launch_until(self, asset: str, **settings: Any) -> Launched:
        """Starts a run of generation 2, and waits until it calls an asset; see `launch`."""
        before = len(self.calls())
        run = self.launch(2, **settings)
        run.wait_until(
            f"it calls {asset}", lambda: asset in {name for _, name in self.calls()[before:]}
        )
        return run

    def succeed(self, generation: int, instance: str = "full", **settings: Any) -> Outcome:
        """Runs an instance in a process of its own, which must succeed."""
        ended = self.launch(generation, instance, **settings).finish()
        assert ended.success, ended.log[-8000:]
        return ended

    def run_here(
        self,
        generation: int,
        instance: str = "full",
        selection: Sequence[str] | None = None,
        **more: str,
    ) -> Outcome:
        """Runs an instance in this process."""
        TALLY.runs += 1
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self._told_to_workers(generation, **more).items():
                patch.setenv(name, value)
            return runs.execute(self.module, instance, storage=self.storage, selection=selection)

    def _told_to_workers(self, generation: int, **more: str) -> dict[str, str]:
        """Give the environment of a run, which is that of its steps as well."""
        environment = self.environment(generation, **more)
        (self.folder / SETTINGS).write_text(json.dumps(environment))
        return environment

    def instance(self, name: str) -> Instance:
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in self.environment(0).items():
                patch.setenv(variable, value)
            return load_configuration().instance(name)

    def check(
        self, *moments: Moment, instances: Sequence[str] = ("full",), **settings: Any
    ) -> None:
        """Checks the invariants; see `broken`."""
        engine = self.engine
        for name in instances:
            with engine.connect() as connection:
                found = broken(connection, self.instance(name), *moments, **settings)
                connection.rollback()
            assert not found, f"{name}:\n" + "\n".join([*found, *self._evidence(name)])

    def _evidence(self, instance: str) -> list[str]:
        """Gives what helps to find out how an invariant came to be broken."""
        columns = "stage, name, kind, inputs, run_id, committed_at, xmin::text"
        rows = self.rows(f"SELECT {columns} FROM {instance}_catalog.tables ORDER BY committed_at")
        logs = [f"Run in process {run.pid}:\n{run.log}" for run in self.launched[-2:]]
        return [*map(str, rows), *logs]

    def calls(self) -> list[tuple[int, str]]:
        """Gives the calls of assets so far: process and asset."""
        file = self.folder / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        pairs = [line.split() for line in lines]
        return [(int(pid), name) for pid, name in pairs]

    def prepare_hold(self) -> Path:
        """Gives the pipe that a run with PROOF_HOLD waits for."""
        pipe = self.folder / f"calls{HOLD}"
        os.mkfifo(pipe)
        return pipe

    def staged(self, instance: str = "full") -> set[str]:
        """Names what is listed as staged."""
        if self.rows(f"SELECT to_regclass('{instance}_catalog.staged')")[0][0] is None:
            return set()
        return {
            f"{stage}/{name}"
            for stage, name in self.rows(f"SELECT stage, name FROM {instance}_catalog.staged")
        }

    def commits(self, instance: str = "full") -> set[tuple[str, str]]:
        """Gives the transactions that wrote what the catalog says now, by stage."""
        query = f"SELECT DISTINCT stage, xmin::text FROM {instance}_catalog.tables"
        return {(stage, transaction) for stage, transaction in self.rows(query)}

    def end(self) -> None:
        """Ends all processes, and the sessions that this process has in the database."""
        for run in self.launched:
            run.end()
        database(self.instance("full")).engine.dispose()
        if self.url is None:
            self.server.stop()
