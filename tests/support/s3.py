"""A real S3 server on the loopback address, and a proxy before it that answers as S3 does on bad days."""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from corpusmill.pipeline.storage import filesystem

KEY_ID = "AKIAEXAMPLEKEYNUMBER"
SECRET = "very+secret/Key0123456789abcdefghijklmnop"
TOKEN = "session//token//0123456789=="
HOPS = {"transfer-encoding", "connection", "content-length", "server", "date"}


@dataclass
class Answer:
    """What a bad day brings: this status and code, to a share of the requests that match."""

    status: int
    code: str
    message: str
    share: float = 1.0
    method: str = ""
    part: str = ""
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def strikes(self, method: str, path: str) -> bool:
        """Say whether a request gets this answer."""
        return self.method in method and self.part in path and self.chance.random() < self.share


SLOW_DOWN = (503, "SlowDown", "Please reduce your request rate.")
EXPIRED = (400, "ExpiredToken", "The provided token has expired.")
DENIED = (403, "AccessDenied", "Access Denied")


class Proxy:
    """Passes requests on to the server, but for those that `answers` take."""

    def __init__(self, host: str, port: int) -> None:
        self.answers: list[Answer] = []
        self.refused = self.copied = 0
        self._upstream = (host, port)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _pass_on(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size) if size else b""
                struck = next((a for a in proxy.answers if a.strikes(self.command, self.path)), None)
                if struck is not None:
                    proxy.refused += 1
                    self._answer(struck.status, {"Content-Type": "application/xml"}, _xml(struck))
                    return
                proxy.copied += "x-amz-copy-source" in self.headers
                upstream = HTTPConnection(*proxy._upstream)
                upstream.request(self.command, self.path, body, dict(self.headers))
                answer = upstream.getresponse()
                content = answer.read()
                headers = {k: v for k, v in answer.getheaders() if k.lower() not in HOPS}
                if self.command == "HEAD":
                    headers["Content-Length"] = answer.getheader("Content-Length") or "0"
                self._answer(answer.status, headers, content)
                upstream.close()

            def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers and status != 204:
                    self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on  # noqa: N815  names are the library's

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def forget_all(self) -> None:
        """Take all buckets away."""
        server = HTTPConnection(*self._upstream)
        server.request("POST", "/moto-api/reset")
        assert server.getresponse().status == 200
        server.close()

    def close(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()

    @contextmanager
    def answering(self, *answers: Answer) -> Iterator[None]:
        """Answer so while the block runs."""
        self.answers = list(answers)
        self.refused = 0
        try:
            yield
        finally:
            self.answers = []


def _xml(answer: Answer) -> bytes:
    return (
        f'<?xml version="1.0"?><Error><Code>{answer.code}</Code><Message>{answer.message}</Message></Error>'
    ).encode()


SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(*server.get_host_and_port(), flush=True)
sys.stdin.read()  # until its parent ends
"""


@contextmanager
def s3_server() -> Iterator[Proxy]:
    """Run a server behind a proxy.

    In a process of its own, and one for all: the servers that one process starts share all their buckets.
    """
    command = [sys.executable, "-c", SERVER]
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        host, port = process.stdout.readline().split()
        proxy = Proxy(host, int(port))
        try:
            yield proxy
        finally:
            proxy.close()
            process.stdin.close()
            process.wait()


@contextmanager
def emptied(proxy: Proxy) -> Iterator[Proxy]:
    """Point the environment at the server while the block runs, with nothing in it but a bucket `bucket`."""
    with environment(
        AWS_ENDPOINT_URL=proxy.url,
        AWS_ACCESS_KEY_ID=KEY_ID,
        AWS_SECRET_ACCESS_KEY=SECRET,
        AWS_SESSION_TOKEN=TOKEN,
        AWS_DEFAULT_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
    ):
        proxy.forget_all()
        filesystem("s3").mkdir("bucket")
        yield proxy


@contextmanager
def environment(**values: str | None) -> Iterator[None]:
    """Set or unset variables that S3 clients read, and let new clients be made, while the block runs."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: dict[str, str | None]) -> None:
    import s3fs

    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    s3fs.S3FileSystem.clear_instance_cache()
    filesystem.cache_clear()
