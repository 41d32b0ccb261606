"""A connection between two members, once each knows who the other is. One direction carries messages.

The handshake: each sends a greeting with a fresh X25519 key and 32 random bytes. With a secret, both derive a
key per direction from the secret, the keys' shared value and both greetings, and from then on every frame is
sealed with ChaCha20-Poly1305 under a nonce that counts frames: who does not have the secret can neither read
nor make one, and none can be repeated, left out, or brought in from another connection. Then each says who it
is, whom it means, and who the members are; both must agree. With TLS the certificate must name that member's
id or host.

A frame is a length of four bytes and as many bytes. What is longer than a frame goes in parts.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import ssl
import struct
from dataclasses import dataclass
from typing import Any

import msgpack
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from services.raft.config import RaftConfig
from services.raft.errors import PeerError

__all__ = ["FRAME_BYTES_MAX", "Channel", "accept", "greet"]

FRAME_BYTES_MAX = 1024 * 1024
_HANDSHAKE_FRAME_BYTES_MAX = 4096
_MAGIC = b"orchestray raft 1"


class _Seal:
    """One direction of a connection."""

    def __init__(self, key: bytes) -> None:
        self._cipher = ChaCha20Poly1305(key)
        self._count = 0

    def _nonce(self) -> bytes:
        self._count += 1
        return self._count.to_bytes(12, "big")

    def close(self, data: bytes) -> bytes:
        return self._cipher.encrypt(self._nonce(), data, None)

    def open(self, data: bytes) -> bytes:
        try:
            return self._cipher.decrypt(self._nonce(), data, None)
        except InvalidTag:
            raise PeerError("it has another secret, or frames were changed on the way") from None


@dataclass(slots=True)
class Channel:
    """``member`` is who is at the other end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    member: str = ""
    _sending: _Seal | None = None
    _receiving: _Seal | None = None

    def write(self, data: bytes) -> None:
        if self._sending is not None:
            data = self._sending.close(data)
        self.writer.write(struct.pack(">I", len(data)) + data)

    async def read(self, bytes_max: int = FRAME_BYTES_MAX) -> bytes:
        """Raises PeerError if it ends, or breaks a rule."""
        try:
            (length,) = struct.unpack(">I", await self.reader.readexactly(4))
            if length > bytes_max:
                raise PeerError(f"a frame of {length} bytes, at most {bytes_max} are allowed")
            data = await self.reader.readexactly(length)
        except ssl.SSLError as error:
            raise PeerError(
                f"it ended TLS ({error.reason or error}): it accepts no certificate that is not signed by "
                "the authority in its RaftSSLCAFile"
            ) from error
        except (asyncio.IncompleteReadError, OSError) as error:
            raise PeerError("the connection ended") from error
        return data if self._receiving is None else self._receiving.open(data)

    def abort(self) -> None:
        self.writer.transport.abort()


async def greet(channel: Channel, config: RaftConfig, member: str) -> None:
    """The side that dialled ``member``. Raises PeerError."""
    own, theirs, private = await _greetings(channel)
    if config.secret is not None:
        there, back = _keys(config.secret, private, own, theirs, first=own)
        channel._sending, channel._receiving = _Seal(there), _Seal(back)
    channel.write(_identity(config, member))
    try:
        said = await channel.read(_HANDSHAKE_FRAME_BYTES_MAX)
    except PeerError as error:
        raise PeerError(
            f"it closed the connection in the handshake ({error}): it has another secret, other members, "
            "or does not know this node; its log says which"
        ) from error
    _check(channel, config, said, expected=member)


async def accept(channel: Channel, config: RaftConfig) -> None:
    """The side that was dialled. Raises PeerError."""
    own, theirs, private = await _greetings(channel)
    if config.secret is not None:
        there, back = _keys(config.secret, private, own, theirs, first=theirs)
        channel._receiving, channel._sending = _Seal(there), _Seal(back)
    _check(channel, config, await channel.read(_HANDSHAKE_FRAME_BYTES_MAX))
    channel.write(_identity(config, channel.member))


async def _greetings(channel: Channel) -> tuple[bytes, bytes, X25519PrivateKey]:
    private = X25519PrivateKey.generate()
    own = _MAGIC + private.public_key().public_bytes_raw() + os.urandom(32)
    channel.write(own)
    theirs = await channel.read(_HANDSHAKE_FRAME_BYTES_MAX)
    if len(theirs) != len(own) or not theirs.startswith(_MAGIC):
        raise PeerError("what is there does not speak this version of raft")
    if theirs == own:
        raise PeerError("it sent this node's own greeting back")
    return own, theirs, private


def _keys(
    secret: str, private: X25519PrivateKey, own: bytes, theirs: bytes, *, first: bytes
) -> tuple[bytes, bytes]:
    """From the dialler, to the dialler. ``first`` is the dialler's greeting."""
    public = X25519PublicKey.from_public_bytes(theirs[len(_MAGIC) : len(_MAGIC) + 32])
    try:
        shared = private.exchange(public)
    except ValueError as error:  # a point of low order
        raise PeerError("its key is none") from error
    transcript = hashlib.sha256(first + (theirs if first is own else own)).digest()
    root = hmac.new(secret.encode(), transcript + shared, hashlib.sha256).digest()
    there = hmac.new(root, b"from the dialler", hashlib.sha256).digest()
    return there, hmac.new(root, b"to the dialler", hashlib.sha256).digest()


def _identity(config: RaftConfig, to: str) -> bytes:
    return bytes(msgpack.packb([config.node_id, to, sorted(config.members)]))


def _check(channel: Channel, config: RaftConfig, said: bytes, expected: str | None = None) -> None:
    try:
        member, to, members = msgpack.unpackb(said)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise PeerError("it has another secret, or does not say who it is") from error
    if member not in config.peers or (expected is not None and member != expected):
        raise PeerError(f"it says that it is {member!r}, who is not {expected or 'a member'}")
    if to != config.node_id:
        raise PeerError(f"{member} means to reach {to!r}, this is {config.node_id}: an address is wrong")
    if members != sorted(config.members):
        raise PeerError(f"{member} is configured with the members {members}, this node with others")
    if config.tls is not None:
        _check_certificate(channel, config, member)
    channel.member = member


def _check_certificate(channel: Channel, config: RaftConfig, member: str) -> None:
    certificate: dict[str, Any] = channel.writer.get_extra_info("peercert") or {}
    names = {name for _, name in certificate.get("subjectAltName", ())}
    host = config.members[member].host
    if not names & {member, host}:
        raise PeerError(
            f"the certificate of {member} names {', '.join(sorted(names)) or 'nobody'}: it must name "
            f"{member} or {host} among its alternative names"
        )
