"""The commands `data-pipeline db url|start|stop|psql`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from data_pipeline.errors import ConfigurationError, DataPipelineError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from data_pipeline.instances import DatabaseUrl
    from data_pipeline.tables.embedded import EmbeddedServer


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
        from data_pipeline.tables.embedded import EmbeddedServer

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
    from data_pipeline.tables.connection import libpq_uri

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
    from data_pipeline.tables.connection import libpq_uri
    from data_pipeline.tables.embedded.binaries import find_psql
    from data_pipeline.tables.embedded.cluster import existing_major

    database = _database(instance)
    address = database.address()
    major = existing_major(database.server().data) if database.url.is_embedded else None
    program = str(find_psql(major))
    # Never in the arguments, which every user of the machine can read.
    password = {} if address.password is None else {"PGPASSWORD": str(address.password)}
    shown = libpq_uri(_without_password(address))
    os.execve(program, [program, shown, *arguments], {**os.environ, **password})  # noqa: S606 - no shell wanted


def _without_password(address: "sa.URL") -> "sa.URL":
    """The same URL; `URL.set` cannot take a password away."""
    import sqlalchemy as sa

    return sa.URL.create(
        address.drivername,
        address.username,
        host=address.host,
        port=address.port,
        database=address.database,
        query=address.query,
    )


def _database(instance: str | None) -> _Database:
    """The database of an instance; without a name the one that all instances share."""
    from data_pipeline.instances import load_configuration

    configuration = load_configuration()
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
