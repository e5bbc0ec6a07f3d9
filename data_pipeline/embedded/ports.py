"""The port of the server: which one it gets, and whether it answers there."""

import secrets
import socket
import struct

from data_pipeline.embedded.home_layout import Layout

HOST = "127.0.0.1"
PROTOCOL_3_0 = 196608
TOO_MANY_CONNECTIONS = b"C53300\0"
# Below the ports that systems give to outgoing connections, so that none takes ours meanwhile.
PORTS = range(15432, 32768)


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


def choose_port(layout: Layout, *, first: bool) -> int:
    """Return the port of the last start if it is free, so that URLs stay valid; else a free one."""
    if first and layout.port.exists():
        text = layout.port.read_text().strip()
        if text.isdecimal() and is_free(int(text)):
            return int(text)
    while True:
        port = PORTS[secrets.randbelow(len(PORTS))]
        if is_free(port):
            return port
