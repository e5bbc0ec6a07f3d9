"""Counting what goes to PostgreSQL and back: a proxy on loopback that reads the protocol."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa

_ASKS = frozenset({b"Q", b"S"})  # a query, and the end of an extended one: each is answered


class RoundTrips:
    """How often clients have waited for the server so far."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        """Counts one."""
        with self._lock:
            self.count += 1


@contextmanager
def counted(url: sa.URL) -> Iterator[tuple[sa.URL, RoundTrips]]:
    """Gives a URL of the same server by way of a proxy, and the count of what goes by it."""
    trips = RoundTrips()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    server = socket.create_connection((url.host or "127.0.0.1", url.port or 5432))
                    threading.Thread(target=_asked, args=(client, server, trips)).start()
                    threading.Thread(target=_answered, args=(server, client)).start()

        threading.Thread(target=accept, daemon=True).start()
        port = listener.getsockname()[1]
        query = {**url.query, "sslmode": "disable", "gssencmode": "disable"}
        yield url.set(host="127.0.0.1", port=port, query=query), trips
        listener.shutdown(socket.SHUT_RDWR)


def _answered(server: socket.socket, client: socket.socket) -> None:
    with server, client, suppress(OSError):
        while data := server.recv(1 << 16):
            client.sendall(data)
        client.shutdown(socket.SHUT_RDWR)


def _asked(client: socket.socket, server: socket.socket, trips: RoundTrips) -> None:
    """Passes on what a client sends, message by message; the first one has no type."""
    with suppress(OSError):
        if first := _exactly(client, 4):
            server.sendall(first + _exactly(client, int.from_bytes(first) - 4))
        while kind := _exactly(client, 1):
            length = _exactly(client, 4)
            if kind in _ASKS:
                trips.add()
            server.sendall(kind + length + _exactly(client, int.from_bytes(length) - 4))
    with suppress(OSError):
        server.shutdown(socket.SHUT_RDWR)


def _exactly(stream: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = stream.recv(size - len(found))
        if not more:
            return b""
        found += more
    return found
