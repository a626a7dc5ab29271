"""Tells somebody outside, from a thread of its own: nothing here can hold imaging up."""

from __future__ import annotations

import json
import platform
import queue
import smtplib
import threading
import urllib.request
from collections.abc import Callable
from email.message import EmailMessage
from types import TracebackType
from typing import Self

from live.plan.blocks import Tell

WAITING = 32
TIMEOUT_S = 10.0
LAST_WORDS_S = 3.0


class Notifier:
    """Sends webhooks and mails in the background; hold it in a ``with`` block.

    Parameters
    ----------
    on_failed
        Called on the notifier's thread with a sentence when a message did not arrive.
    timeout_s
        For each message.
    """

    def __init__(self, on_failed: Callable[[str], None], *, timeout_s: float = TIMEOUT_S) -> None:
        self._on_failed = on_failed
        self._timeout_s = timeout_s
        self._waiting: queue.Queue[Tell | None] = queue.Queue(WAITING)
        self._thread: threading.Thread | None = None
        self.sent = 0
        self.failed = 0

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread = threading.Thread(target=self._work, name="notifier", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give what waits a few seconds; the rest is counted as failed."""
        if self._thread is None:
            return
        try:
            self._waiting.put(None, timeout=LAST_WORDS_S)
        except queue.Full:
            self.failed += self._waiting.qsize()
        self._thread.join(LAST_WORDS_S)
        self._thread = None

    def put(self, message: Tell) -> str:
        """Send soon; what is wrong, or an empty text. Never blocks."""
        try:
            self._waiting.put_nowait(message)
        except queue.Full:
            self.failed += 1
            return f"{WAITING} notifications wait already; this one was dropped"
        return ""

    def _work(self) -> None:
        while (message := self._waiting.get()) is not None:
            try:
                send(message, self._timeout_s)
            except (OSError, ValueError, smtplib.SMTPException) as error:
                self.failed += 1
                to = message.url or message.email
                self._on_failed(f"notification to {to} failed: {' '.join(str(error).split())}")
            else:
                self.sent += 1


def send(message: Tell, timeout_s: float) -> None:
    """Send one message and wait for its answer; raises ``OSError`` and kin when it fails."""
    if message.url is not None:
        if not message.url.startswith(("http://", "https://")):
            raise ValueError(f"{message.url} is no web address")
        body = json.dumps({"text": message.text, **message.facts}).encode()
        request = urllib.request.Request(
            message.url, data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            answer.read(65_536)
    if message.email is not None:
        mail = EmailMessage()
        mail["To"] = message.email
        mail["From"] = message.email
        mail["Subject"] = f"Parfocal: {message.facts.get('rule', 'a notice')}"
        mail.set_content(message.text)
        host, _, port = message.smtp.partition(":")
        # Left to itself it asks the name service who we are, which can take long.
        own = platform.node() or "localhost"
        with smtplib.SMTP(host, int(port or 25), own, timeout_s) as server:
            server.send_message(mail)
