"""Ask a PostgreSQL server on loopback whether it accepts connections, as `pg_isready` does."""

import socket
import struct

HOST = "127.0.0.1"
PROTOCOL_3_0 = 196608
TOO_MANY_CONNECTIONS = b"C53300\0"


def accepts_connections(port: int, user: str, timeout: float = 2.0) -> bool:
    """Whether a server answers a start-up message on this port by asking who we are.

    A server that starts, recovers or stops answers with an error instead. No password is sent.
    """
    parameters = b"user\0" + user.encode() + b"\0database\0" + user.encode() + b"\0\0"
    message = struct.pack("!ii", 8 + len(parameters), PROTOCOL_3_0) + parameters
    try:
        with socket.socket() as connection:
            connection.settimeout(timeout)
            connection.connect((HOST, port))
            connection.sendall(message)
            answer = connection.recv(1024)
    except OSError:
        return False
    return answer.startswith(b"R") or TOO_MANY_CONNECTIONS in answer


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback interface."""
    with socket.socket() as probe:
        # As PostgreSQL does: connections of an earlier server that linger do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
