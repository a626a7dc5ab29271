"""Notifications: sent in the background, counted when they fail, never in anybody's way."""

from __future__ import annotations

import json
import socketserver
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from live.actions.notify import WAITING, Notifier
from live.plan.blocks import Tell


class Hook(HTTPServer):
    """A webhook that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[dict] = []
        super().__init__(("127.0.0.1", 0), Answering)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hook"


class Answering(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        self.server.got.append(json.loads(self.rfile.read(size)))
        self.send_response(500 if self.path.endswith("broken") else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Mail(socketserver.TCPServer):
    """A mail server of five words."""

    allow_reuse_address = True

    def __init__(self) -> None:
        self.letters: list[str] = []
        super().__init__(("127.0.0.1", 0), Posting)


class Posting(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        lines: list[str] | None = None
        for raw in self.rfile:
            line = raw.decode().rstrip("\r\n")
            if lines is not None:
                if line == ".":
                    self.server.letters.append("\n".join(lines))
                    lines = None
                    self.wfile.write(b"250 taken\r\n")
                else:
                    lines.append(line)
            elif line.upper() == "DATA":
                lines = []
                self.wfile.write(b"354 go on\r\n")
            elif line.upper() == "QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 fine\r\n")


@pytest.fixture(params=[Hook, Mail])
def server(request) -> Iterator[Hook | Mail]:
    with request.param() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.02,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.mark.parametrize("server", [Hook], indirect=True)
def test_a_webhook_gets_text_and_facts(server):
    with Notifier(lambda _: None) as notifier:
        assert notifier.put(Tell("look", url=server.url, facts={"frame": 7})) == ""
    assert server.got == [{"text": "look", "frame": 7}]
    assert (notifier.sent, notifier.failed) == (1, 0)


@pytest.mark.parametrize("server", [Mail], indirect=True)
def test_a_mail_is_sent(server):
    port = server.server_address[1]
    tell = Tell("cell 7 divided", email="me@lab.org", smtp=f"127.0.0.1:{port}")
    with Notifier(lambda _: None) as notifier:
        notifier.put(tell)
    (letter,) = server.letters
    assert "To: me@lab.org" in letter
    assert "cell 7 divided" in letter


@pytest.mark.parametrize("server", [Hook], indirect=True)
def test_what_fails_is_counted_and_said(server):
    told: list[str] = []
    with Notifier(told.append, timeout_s=2) as notifier:
        notifier.put(Tell("a", url=server.url + "/broken"))
        notifier.put(Tell("b", url="http://127.0.0.1:9/"))
    assert notifier.failed == 2
    assert "HTTP Error 500" in told[0]
    assert "127.0.0.1:9" in told[1]


def test_putting_never_waits_and_the_queue_is_bounded():
    notifier = Notifier(lambda _: None)  # its thread does not run
    began = time.monotonic()
    answers = [notifier.put(Tell("x", url="http://127.0.0.1:9/")) for _ in range(WAITING + 3)]
    assert time.monotonic() - began < 0.5
    assert [bool(answer) for answer in answers] == [False] * WAITING + [True] * 3
    assert notifier.failed == 3
