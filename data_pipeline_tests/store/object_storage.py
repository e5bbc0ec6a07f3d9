"""A local S3 server with a bucket, for tests of blobs in object storage."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

BUCKET = "blobs"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "of_the_test",
    "AWS_SECRET_ACCESS_KEY": "of_the_test",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class Storage:
    """The server: what processes must know to reach it, and what lies in its bucket."""

    def __init__(self, server: Any) -> None:
        import boto3

        host, port = server.get_host_and_port()
        self.environment = {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="of_the_test",
            aws_secret_access_key="of_the_test",
            region_name="us-east-1",
        )
        self._client.create_bucket(Bucket=BUCKET)

    @property
    def names(self) -> list[str]:
        found = self._client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return [item["Key"] for item in found]

    def write(self, name: str, content: bytes) -> None:
        self._client.put_object(Bucket=BUCKET, Key=name, Body=content)

    def size(self, name: str) -> int:
        return self._client.head_object(Bucket=BUCKET, Key=name)["ContentLength"]

    def clear(self) -> None:
        for name in self.names:
            self._client.delete_object(Bucket=BUCKET, Key=name)


@contextmanager
def object_storage() -> Iterator[Storage]:
    """Starts the server, without a word of its own in the log."""
    pytest.importorskip("s3fs", reason="NOT TESTED: install data-pipeline[s3]")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    forget_clients()
    try:
        yield Storage(server)
    finally:
        server.stop()
        forget_clients()


@contextmanager
def refusing(code: str | None) -> Iterator[str]:
    """Answers each request with status 400, and a body that names a reason, if any."""
    body = b"" if code is None else f"<Error><Code>{code}</Code></Error>".encode()

    class Refusal(BaseHTTPRequestHandler):
        def handle(self) -> None:
            self.raw_requestline = self.rfile.readline()
            self.parse_request()
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(400)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusal) as server:
        Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def forget_clients() -> None:
    """Let this process read its environment again, as the next one would."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
