"""The commands `data-pipeline db url|start|stop|psql`."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from data_pipeline.cli import chosen_project
from data_pipeline.errors import ConfigurationError, DataPipelineError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from data_pipeline.embedded import EmbeddedServer
    from data_pipeline.instances import DatabaseUrl


_SERVICE = "data_pipeline"
# Parameters of libpq, besides the password, whose values are secret.
_SECRETS = ("sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")


class _Commands(click.Group):
    """Shows our errors as messages, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except DataPipelineError as error:
            raise click.ClickException(str(error)) from error


class _Database(NamedTuple):
    """Which database a command is about."""

    home: Path
    url: "DatabaseUrl"

    def server(self) -> "EmbeddedServer":
        """The embedded server.

        Raises:
            ConfigurationError: The configuration names another server.
        """
        from data_pipeline.embedded import EmbeddedServer

        if not self.url.is_embedded:
            raise ConfigurationError(
                f"The configuration names the database {self.url}, not the embedded PostgreSQL: "
                "it is started and stopped where it runs. To use the embedded one, unset "
                "DATA_PIPELINE_DATABASE_URL, or write `url: embedded` for the table store "
                "connection."
            )
        return EmbeddedServer(self.home)

    def address(self) -> "sa.URL":
        """The URL to connect to, with its password; starts the embedded server when needed."""
        import sqlalchemy as sa

        if not self.url.is_embedded:
            return sa.make_url(self.url.reveal()).set(drivername="postgresql")
        server = self.server()
        if server.status != "running":
            click.echo(f"Starting the embedded PostgreSQL in {server.data.parent}", err=True)
        return server.start()


_instance = click.option(
    "--instance", metavar="NAME", help="Whose database (needed where instances differ in it)."
)


@click.group("db", cls=_Commands)
def db() -> None:
    """The database: its URL, psql, and start and stop of the embedded server."""


@db.command()
@_instance
def url(instance: str | None) -> None:
    """Print the URL with its password, for other programs; starts the embedded server if needed."""
    from data_pipeline.database.connection import libpq_uri

    click.echo(libpq_uri(_database(instance).address()))


@db.command()
@_instance
def start(instance: str | None) -> None:
    """Start the embedded server (what needs it also starts it by itself)."""
    server = _database(instance).server()
    before = server.status
    address = server.start()
    state = "was running already" if before == "running" else "is running"
    click.echo(f"The embedded PostgreSQL {state}: {address.render_as_string()}")


@db.command()
@_instance
def stop(instance: str | None) -> None:
    """Stop the embedded server; its data stay."""
    server = _database(instance).server()
    stopped = server.stop()
    state = "is stopped" if stopped else "was not running"
    click.echo(f"The embedded PostgreSQL in {server.data.parent} {state}.")


@db.command(context_settings={"ignore_unknown_options": True})
@_instance
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def psql(instance: str | None, arguments: tuple[str, ...]) -> None:
    """Open psql on the database; ARGUMENTS go to psql (such as -c "SELECT 1")."""
    from data_pipeline.database.connection import libpq_uri
    from data_pipeline.embedded.binaries import find_psql
    from data_pipeline.embedded.cluster import existing_major

    database = _database(instance)
    address = database.address()
    major = existing_major(database.server().data) if database.url.is_embedded else None
    program = str(find_psql(major))
    shown, secrets = _without_secrets(address)
    command = [program, libpq_uri(shown), *arguments]
    os.execve(program, command, {**os.environ, **secrets})  # noqa: S606 - no shell wanted


def _without_secrets(address: "sa.URL") -> tuple["sa.URL", dict[str, str]]:
    """The same URL for an argument, which all users of the machine can read; and the environment.

    Raises:
        ConfigurationError: It has a secret for which libpq needs a service file, and names one.
    """
    import sqlalchemy as sa

    # A parameter wins over what stands before the host, and the last one over others of its name.
    query = {name: values[-1] for name, values in address.normalized_query.items()}
    password = query.pop("password", address.password)
    environment = {} if password is None else {"PGPASSWORD": str(password)}
    others = {name: query.pop(name) for name in _SECRETS if name in query}
    if others:
        if "service" in query:
            raise ConfigurationError(
                f"The database URL has `{'`, `'.join(others)}` beside `service`: psql could not be "
                "given both without showing a secret to other users of this machine. Write "
                f"`{'`, `'.join(others)}` into that service's section of the service file."
            )
        environment["PGSERVICEFILE"] = _service_file(others)
        query["service"] = _SERVICE
    # `URL.set` cannot take a password away.
    shown = sa.URL.create(
        address.drivername,
        address.username,
        host=address.host,
        port=address.port,
        database=address.database,
        query=query,
    )
    return shown, environment


def _service_file(parameters: Mapping[str, str]) -> str:
    """The path of a service file without a name, which is gone with the last process that has it.

    libpq takes these parameters from no environment variable.
    """
    with tempfile.TemporaryFile("w", encoding="utf-8") as file:
        lines = [f"[{_SERVICE}]", *(f"{name}={value}" for name, value in parameters.items())]
        file.write("\n".join(lines) + "\n")
        file.flush()
        file.seek(0)
        kept = os.dup(file.fileno())
    os.set_inheritable(kept, True)
    return f"/dev/fd/{kept}"


def _database(instance: str | None) -> _Database:
    """The database of an instance; without a name the one that all instances share."""
    configuration = chosen_project.configuration(with_module=False)
    if instance is not None:
        return _Database(configuration.home, configuration.instance(instance).table_store.url)
    urls = {name: found.table_store.url for name, found in configuration.instances.items()}
    if len(set(urls.values())) > 1:
        listed = "\n".join(f"  {name}: {address}" for name, address in urls.items())
        raise ConfigurationError(
            f"The instances of {configuration.file} do not share one database:\n{listed}\n"
            "Say which one is meant: --instance NAME"
        )
    return _Database(configuration.home, next(iter(urls.values())))
