"""CURVE encryption and authentication for sockets that leave this machine.

The rig owns a server key; each helper machine has a client key, and only listed client keys are
let in. Keys are Z85 text of 40 characters, as ``zmq.curve_keypair`` makes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import zmq
from zmq.auth.thread import ThreadAuthenticator

from drivers.errors import SettingsError

_KEY_LENGTH = 40


@dataclass(frozen=True, slots=True, repr=False)
class ServerKeys:
    """The rig's key pair and the public keys of the clients that may connect."""

    public: bytes
    secret: bytes
    clients: tuple[bytes, ...]

    def __post_init__(self) -> None:
        """Check lengths; an empty list of clients would let nobody in."""
        _check_keys(self.public, self.secret, *self.clients)
        if not self.clients:
            raise SettingsError("CURVE: no client key is listed, so nobody could connect")


@dataclass(frozen=True, slots=True, repr=False)
class ClientKeys:
    """A helper machine's key pair and the public key of the rig that it trusts."""

    public: bytes
    secret: bytes
    server: bytes

    def __post_init__(self) -> None:
        """Check lengths."""
        _check_keys(self.public, self.secret, self.server)

    def secure(self, socket: zmq.Socket[Any]) -> None:
        """Make a socket speak CURVE; call before ``connect``."""
        socket.curve_publickey = self.public
        socket.curve_secretkey = self.secret
        socket.curve_serverkey = self.server


class Gatekeeper:
    """Lets listed clients into the sockets that it guards; holds one small thread until closed."""

    def __init__(self, context: zmq.Context[Any], keys: ServerKeys) -> None:
        self._keys = keys
        self._authenticator: ThreadAuthenticator | None = ThreadAuthenticator(context)
        self._authenticator.start()
        self._authenticator.configure_curve_callback(credentials_provider=self)

    def callback(self, domain: str, key: bytes) -> bool:
        """Say whether a Z85 client key is on the list; called by ZeroMQ's authenticator."""
        del domain
        return key in self._keys.clients

    def guard(self, socket: zmq.Socket[Any]) -> None:
        """Make a socket a CURVE server; call before ``bind``."""
        socket.curve_server = True
        socket.curve_publickey = self._keys.public
        socket.curve_secretkey = self._keys.secret

    def close(self) -> None:
        """End the thread. Safe to call twice."""
        if self._authenticator is not None:
            self._authenticator.stop()
            self._authenticator = None


def _check_keys(*keys: bytes) -> None:
    for key in keys:
        if len(key) != _KEY_LENGTH:
            raise SettingsError(
                f"CURVE key of {len(key)} characters, need {_KEY_LENGTH} (Z85 text); "
                'make a pair with: python -c "import zmq; print(zmq.curve_keypair())"'
            )
