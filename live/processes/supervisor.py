"""Keeps the inference process and the window alive, and is their post office.

One thread of the rig process owns the control socket: it takes what children say, hands it on, and
sends what it is given. A child that dies or falls silent is started again; imaging and recording
never wait for it.
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import zmq

from drivers import SettingsError, WireError
from drivers.ahead import AheadHost, ahead_host
from drivers.wire import bind
from live.processes.children import Child, ChildSpec
from live.processes.messages import (
    MAX_BYTES,
    PROTOCOL,
    Beat,
    Fault,
    Hello,
    Message,
    Ready,
    Stop,
    decode,
    encode,
    sign_ahead,
)

BEAT_S = 0.5
TICK_S = 0.2
GRACE_S = 3.0
OUTBOX = 256
MOST_ASKED = 4


class Supervisor:
    """Starts children in a ``with`` block and ends them in order at its end.

    Parameters
    ----------
    context
        ZeroMQ context of the rig process.
    specs
        The children.
    on_message
        Called on the supervisor's thread with role and message, for everything but heartbeats.
    on_tick
        Called on that thread about five times a second.
    on_event
        Called with one sentence when something happened that the log should keep.
    on_restart
        Called with role and sentence when a child has ended and is started again, or given up.
    logs
        Folder for what the children print.
    port
        TCP port on the loopback; None takes a free one.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        specs: Sequence[ChildSpec],
        *,
        on_message: Callable[[str, Message], None],
        on_tick: Callable[[], None],
        on_event: Callable[[str], None],
        on_restart: Callable[[str, str], None],
        logs: Path,
        port: int | None = None,
    ) -> None:
        self._context = context
        self._specs = tuple(specs)
        self._on_message = on_message
        self._on_tick = on_tick
        self._on_event = on_event
        self._on_restart = on_restart
        self._logs = logs
        self._port = port
        self._outbox: queue.Queue[tuple[str, Message]] = queue.Queue(OUTBOX)
        self._asked: queue.Queue[ChildSpec] = queue.Queue(MOST_ASKED)
        # replaced as a whole, never changed: other threads read it
        self._children: dict[str, Child] = {}
        self._address = ""
        self._ahead: AheadHost | None = None
        self._ready = threading.Condition()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self.drops: Counter[str] = Counter()
        self.child_drops: dict[str, Counter[str]] = {}
        self.rates: dict[str, float] = {}

    def __enter__(self) -> Self:
        """Bind, start the children and the thread; an occupied port is a ``SettingsError``."""
        router = self._context.socket(zmq.ROUTER)
        router.setsockopt(zmq.LINGER, 0)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        router.setsockopt(zmq.MAXMSGSIZE, MAX_BYTES)
        try:
            address = bind(router, f"tcp://127.0.0.1:{self._port or '*'}")
        except SettingsError:
            router.close(0)
            raise
        token = secrets.token_hex(16)
        self._address = address
        self._ahead = ahead_host()
        self._logs.mkdir(parents=True, exist_ok=True)
        self._children = {spec.role: self._child(spec, token) for spec in self._specs}
        self._thread = threading.Thread(
            target=self._work, args=(router, token), name="supervisor", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tell the children to stop, wait a little, then end them."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(GRACE_S * (len(self._children) + 2))
            self._thread = None

    @property
    def failure(self) -> BaseException | None:
        """What broke the supervisor's own thread, if anything did."""
        return self._failure

    def send(self, role: str, message: Message) -> bool:
        """Give a message to a child; False, and counted, when too many wait."""
        try:
            self._outbox.put_nowait((role, message))
        except queue.Full:
            self.drops[f"{role}_outbox"] += 1
            return False
        return True

    def start(self, spec: ChildSpec) -> bool:
        """Start one more child soon; False when one of its role runs, or too many are asked for."""
        child = self._children.get(spec.role)
        if child is not None and not child.given_up:
            return False
        try:
            self._asked.put_nowait(spec)
        except queue.Full:
            return False
        return True

    def wait_ready(self, role: str, timeout_s: float) -> bool:
        """Wait until a child is warmed up; False after the timeout or when it was given up."""
        deadline = time.monotonic() + timeout_s
        child = self._children[role]
        with self._ready:
            while not child.ready and not child.given_up and self._failure is None:
                left = deadline - time.monotonic()
                if left <= 0 or self._ending.is_set():
                    return False
                self._ready.wait(min(left, 0.2))
        return child.ready

    def is_ready(self, role: str) -> bool:
        """True while the child is warmed up and alive."""
        child = self._children.get(role)
        return child is not None and child.ready

    def given_up(self, role: str) -> str:
        """Why the child is not started any more; empty while it is."""
        child = self._children.get(role)
        return child.given_up if child else ""

    def restarts(self) -> dict[str, int]:
        """Role -> how often it was started again."""
        return {role: child.restarts for role, child in self._children.items()}

    def pids(self) -> dict[str, int]:
        """Role -> process id of those that run."""
        return {role: child.pid for role, child in self._children.items() if child.pid is not None}

    def peaks_mb(self) -> dict[str, float]:
        """Role -> the largest resident memory seen, MiB."""
        return {role: child.peak_mb for role, child in self._children.items()}

    def _child(self, spec: ChildSpec, token: str) -> Child:
        ahead = self._ahead.port if self._ahead else 0
        return Child(spec, self._address, token, self._logs / f"{spec.role}.txt", ahead)

    def _start_asked(self, token: str) -> None:
        while True:
            try:
                spec = self._asked.get_nowait()
            except queue.Empty:
                return
            child = self._child(spec, token)
            try:
                child.start()
            except OSError as error:
                child.give_up(f"could not be started: {error}")
                self._on_event(f"{spec.role} {child.given_up}")
                self._on_message(spec.role, Fault(role=spec.role, sentence=child.given_up))
            self._children = {**self._children, spec.role: child}

    def _work(self, router: zmq.Socket[bytes], token: str) -> None:
        try:
            self._serve(router, token)
        except BaseException as error:
            self._failure = error
            self._on_event(f"supervisor broke: {type(error).__name__}: {error}")
        finally:
            for child in self._children.values():
                child.end()
            router.close(0)
            if self._ahead is not None:
                self._ahead.close()
            with self._ready:
                self._ready.notify_all()

    def _serve(self, router: zmq.Socket[bytes], token: str) -> None:
        last_beat = last_tick = 0.0
        for child in self._children.values():
            child.start()
        poller = zmq.Poller()
        poller.register(router, zmq.POLLIN)
        if self._ahead is not None:
            poller.register(self._ahead.socket, zmq.POLLIN)
        while not self._ending.is_set():
            if poller.poll(20):
                self._take_ahead(token)
                self._take_all(router, token)
            self._flush(router)
            now = time.monotonic()
            if now - last_tick >= TICK_S:
                last_tick = now
                self._start_asked(token)
                self._watch(now)
                self._on_tick()
                self._flush(router)
            if now - last_beat >= BEAT_S:
                last_beat = now
                for role, child in self._children.items():
                    child.sample_memory()
                    self._post(router, role, Beat(role="rig"))
        self._end_children(router, token)

    def _end_children(self, router: zmq.Socket[bytes], token: str) -> None:
        for role in self._children:
            self._post(router, role, Stop(reason="the run ends"))
        deadline = time.monotonic() + GRACE_S
        for role, child in self._children.items():
            while not child.wait(0.02):
                if router.poll(20):
                    self._take_all(router, token)
                if time.monotonic() > deadline:
                    self._on_event(f"{role} did not end in {GRACE_S:.0f} s and was killed")
                    break

    def _take_all(self, router: zmq.Socket[bytes], token: str) -> None:
        while True:
            try:
                parts = router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._take(parts, token)
            except WireError as error:
                self.drops["control_refused"] += 1
                self._on_event(f"control message refused: {error}")

    def _take_ahead(self, token: str) -> None:
        for _ in range(OUTBOX):
            word = self._ahead.hear() if self._ahead is not None else None
            if word is None:
                return
            child = self._speaker(word[0], token)
            if child is None:
                self.drops["control_refused"] += 1
                continue
            try:
                message = decode(word[0][len(sign_ahead(token, child.spec.role)) :])
            except WireError:
                self.drops["control_refused"] += 1
                continue
            if child.turns.takes(message.number, ahead=True):
                self._take_from(child, message)

    def _speaker(self, data: bytes, token: str) -> Child | None:
        """The child that signed a word ahead."""
        for role, child in self._children.items():
            sign = sign_ahead(token, role)
            if secrets.compare_digest(data[: len(sign)], sign):
                return child
        return None

    def _take(self, parts: list[bytes], token: str) -> None:
        if len(parts) != 2:
            raise WireError(f"control message of {len(parts)} parts, need sender and body")
        identity, body = parts
        message = decode(body)
        if isinstance(message, Hello):
            self._welcome(identity, message, token)
            return
        child = next((c for c in self._children.values() if c.identity == identity), None)
        if child is None:
            raise WireError(f"{type(message).__name__} from a process that did not say hello")
        if child.turns.takes(message.number, ahead=False):
            self._take_from(child, message)

    def _take_from(self, child: Child, message: Message) -> None:
        child.last_heard = time.monotonic()
        role = child.spec.role
        match message:
            case Beat():
                self.child_drops[role] = Counter(message.drops)
                self.rates[role] = message.rate_hz
            case Ready():
                child.ready = True
                self._on_message(role, message)
                with self._ready:
                    self._ready.notify_all()
            case Fault(fatal=True):
                child.give_up(message.sentence)
                self._on_message(role, message)
                with self._ready:
                    self._ready.notify_all()
            case _:
                self._on_message(role, message)

    def _welcome(self, identity: bytes, message: Hello, token: str) -> None:
        child = self._children.get(message.role)
        if child is None or not secrets.compare_digest(message.token, token):
            raise WireError(f"hello from a stranger that calls itself {message.role!r}")
        child.identity = identity
        child.turns.takes(message.number, ahead=False)
        child.last_heard = time.monotonic()
        self.send(message.role, child.spec.configure())

    def _watch(self, now: float) -> None:
        for role, child in self._children.items():
            happened = child.watch(now)
            if happened:
                self._on_event(happened)
                if child.spec.restart:
                    self._on_restart(role, happened)
                if child.given_up:
                    fault = Fault(version=PROTOCOL, role=role, sentence=happened, fatal=True)
                    self._on_message(role, fault)
                    with self._ready:
                        self._ready.notify_all()

    def _flush(self, router: zmq.Socket[bytes]) -> None:
        while True:
            try:
                role, message = self._outbox.get_nowait()
            except queue.Empty:
                return
            self._post(router, role, message)

    def _post(self, router: zmq.Socket[bytes], role: str, message: Message) -> None:
        child = self._children[role]
        if child.identity is None:
            return
        try:
            router.send_multipart([child.identity, encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError:
            # Full, or gone in this moment: ``watch`` deals with the latter.
            self.drops[f"{role}_unreachable"] += 1
