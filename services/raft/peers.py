"""Connections between members: each dials every other and sends on what it dialled, receives on what it
accepted.

Everything is bounded: what waits to be sent (the oldest goes; raft repeats itself), a message, a handshake, a
write, the number of callers. A message longer than a part goes in parts, between which shorter ones pass: a
snapshot delays no heartbeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgpack
import structlog

from services.config.raft_rules import is_loopback
from services.consensus.messages import Install, Message
from services.raft.asking import ANSWER, QUESTION, Answer, Asking, nobody_answers
from services.raft.channel import FRAME_BYTES_MAX, Channel, accept, greet
from services.raft.config import RaftConfig, TlsFiles
from services.raft.errors import PeerError, RaftConfigurationError
from services.raft.lookup import Lookup
from services.raft.wire import SNAPSHOT_BYTES_MAX, decode, encode

__all__ = ["Peer", "Peers"]

_log = structlog.get_logger(__name__)

_PART_BYTES = 64 * 1024
_QUEUE_MAX = 256
_CALLERS_MAX = 32  # that have not said who they are
_DIAL_SECONDS = 1.0
_HANDSHAKE_SECONDS = 2.0
_WRITE_SECONDS = 2.0
_REDIAL_SECONDS = (0.05, 1.0)

Receive = Callable[[str, Message], None]


class Peer:
    """What goes to one other member. ``error`` is why it is not connected, empty if it is."""

    def __init__(self, config: RaftConfig, member: str, context: ssl.SSLContext | None) -> None:
        self.member = member
        self.address = config.members[member]
        self.connected = False
        self.error = "not dialled yet"
        self.dropped = 0
        self._config = config
        self._context = context
        self._lookup = Lookup(self.address)
        self._queue: deque[bytes] = deque()
        self._parts: deque[bytes] = deque()
        self._bulk = 0
        self._arrived = asyncio.Event()

    def send(self, message: Message) -> None:
        if not self.connected:
            return  # what it would find is old by then
        if isinstance(message, Install):
            self._send_in_parts(message)
            return
        self.send_frame(b"\0" + encode(message))

    def send_frame(self, frame: bytes) -> bool:
        """Whether it is connected; then it is on its way, or lost with the connection."""
        if not self.connected:
            return False
        if len(self._queue) >= _QUEUE_MAX:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(frame)
        self._arrived.set()
        return True

    def _send_in_parts(self, message: Install) -> None:
        if self._parts:
            return  # one is on its way
        data = encode(message)
        self._bulk += 1
        count = -(-len(data) // _PART_BYTES)
        for number in range(count):
            part = data[number * _PART_BYTES : (number + 1) * _PART_BYTES]
            self._parts.append(b"\1" + bytes(msgpack.packb([self._bulk, number, count, part])))
        self._arrived.set()

    async def run(self) -> None:
        """Dial, send, dial again; until it is cancelled."""
        pause = _REDIAL_SECONDS[0]
        try:
            while True:
                try:
                    channel = await self._dial()
                except (PeerError, OSError, asyncio.TimeoutError) as error:
                    self._failed(error)
                else:
                    pause = _REDIAL_SECONDS[0]
                    await self._use(channel)
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311  (spreads, hides nothing)
                pause = min(pause * 2, _REDIAL_SECONDS[1])
        finally:
            self._lookup.end()

    async def _dial(self) -> Channel:
        """At the first of its addresses that has somebody who is it."""
        failures: list[Exception] = []
        for number in await self._lookup.numbers():
            try:
                return await self._dial_at(number)
            except (PeerError, OSError, asyncio.TimeoutError) as error:
                failures.append(error)
        # What somebody there said tells more than that nobody was elsewhere.
        failure = next((one for one in failures if isinstance(one, PeerError)), failures[-1])
        if self._lookup.error:
            raise PeerError(f"{self._lookup.error}; at its last known address: {_said(failure)}")
        raise failure

    async def _dial_at(self, number: str) -> Channel:
        if not self._config.is_protected and not is_loopback(number):
            raise PeerError(f"{number} is not of this host, and there are neither TLS files nor a secret")
        dialling = asyncio.open_connection(
            number, self.address.port, ssl=self._context, limit=2 * FRAME_BYTES_MAX
        )
        try:
            channel = Channel(*await asyncio.wait_for(dialling, _DIAL_SECONDS))
        except ssl.SSLError as error:
            raise self._without_tls(error) from error
        try:
            _tune(channel)
            await asyncio.wait_for(greet(channel, self._config, self.member), _HANDSHAKE_SECONDS)
        except BaseException:
            channel.abort()
            raise
        return channel

    def _without_tls(self, error: ssl.SSLError) -> PeerError:
        assert self._config.tls is not None
        if isinstance(error, ssl.SSLCertVerificationError):
            return PeerError(
                f"its certificate is not accepted ({error.verify_message}): it must be signed by the "
                f"authority in {self._config.tls.authority}, which must be the same on all members"
            )
        return PeerError(f"no TLS with it ({error.reason or error}): all members must use the RaftSSL files")

    async def _use(self, channel: Channel) -> None:
        self._queue.clear()
        self._parts.clear()
        self.connected, self.error = True, ""
        ended = asyncio.ensure_future(channel.read(0))  # nothing is ever said on it
        sending = asyncio.ensure_future(self._send_all(channel))
        try:
            await asyncio.wait({ended, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.connected = False
            channel.abort()
            for task in (ended, sending):
                task.cancel()
            results = await asyncio.gather(ended, sending, return_exceptions=True)
        self._failed(next((one for one in results if isinstance(one, Exception)), PeerError("it ended")))

    async def _send_all(self, channel: Channel) -> None:
        while True:
            await self._arrived.wait()
            while self._queue or self._parts:
                while self._queue:
                    channel.write(self._queue.popleft())
                if self._parts:
                    channel.write(self._parts.popleft())
                await asyncio.wait_for(channel.writer.drain(), _WRITE_SECONDS)
            self._arrived.clear()

    def _failed(self, error: BaseException) -> None:
        said = _said(error)
        if said != self.error:
            _log.info("raft: no connection", member=self.member, address=str(self.address), error=said)
        self.error = said


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__


@dataclass(slots=True)
class _Parts:
    bulk: int = 0
    data: bytearray | None = None
    next: int = 0


class Peers:
    """All connections of one member. ``receive`` is called in the event loop for each message that comes;
    ``answer`` says what a question of another member is answered with."""

    def __init__(self, config: RaftConfig, receive: Receive, answer: Answer = nobody_answers) -> None:
        self._config = config
        self._receive = receive
        self._server_context, client_context = _contexts(config.tls)
        self.members = {member: Peer(config, member, client_context) for member in config.peers}
        self.asking = Asking(lambda member, frame: self.members[member].send_frame(frame), answer)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._heard: dict[str, Channel] = {}
        self._callers = 0

    async def start(self) -> None:
        """Raises RaftConfigurationError if the address cannot be used."""
        bind = self._config.bind
        try:
            self._server = await asyncio.start_server(
                self._accept, bind.host, bind.port, ssl=self._server_context, limit=2 * FRAME_BYTES_MAX
            )
        except OSError as error:
            raise RaftConfigurationError(f"raft cannot listen at {bind}: {error}") from error
        for peer in self.members.values():
            self._spawn(asyncio.ensure_future(peer.run()))

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.asking.stop()

    def is_heard(self, member: str) -> bool:
        """Whether it is connected to this one, so that it can be heard."""
        return member in self._heard

    def _spawn(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._spawn(task)
        channel = Channel(reader, writer)
        try:
            if await self._admit(channel):
                await self._listen(channel)
        except asyncio.CancelledError:
            return  # stopped: the streams' own callback logs what a task was cancelled with
        except (PeerError, OSError) as error:
            who = channel.member or writer.get_extra_info("peername")
            _log.info("raft: a connection ended", member=who, error=str(error))
        finally:
            channel.abort()
            if self._heard.get(channel.member) is channel:
                del self._heard[channel.member]

    async def _admit(self, channel: Channel) -> bool:
        if self._callers >= _CALLERS_MAX:
            return False
        self._callers += 1
        try:
            await asyncio.wait_for(accept(channel, self._config), _HANDSHAKE_SECONDS)
        except asyncio.TimeoutError as error:
            raise PeerError("it did not say in time who it is") from error
        finally:
            self._callers -= 1
        before = self._heard.get(channel.member)
        if before is not None:
            before.abort()  # it has dialled again
        self._heard[channel.member] = channel
        return True

    async def _listen(self, channel: Channel) -> None:
        parts = _Parts()
        while True:
            frame = await channel.read()
            kind, data = frame[:1], frame[1:]
            if kind == b"\1":
                whole = _joined(parts, data)
                if whole is None:
                    continue
                data = whole
            elif kind in (QUESTION, ANSWER):
                self.asking.received(channel.member, kind, data)
                continue
            elif kind != b"\0":
                raise PeerError(f"a frame of the unknown kind {kind!r}")
            self._receive(channel.member, decode(data))


def _joined(parts: _Parts, data: bytes) -> bytes | None:
    """All of a message, when its last part has come. They come in order, or from the first one again."""
    try:
        bulk, number, count, part = msgpack.unpackb(data)
        fits = 0 <= number < count and count * _PART_BYTES <= 2 * SNAPSHOT_BYTES_MAX
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise PeerError("a part that is none") from error
    if number == 0:
        parts.bulk, parts.data, parts.next = bulk, bytearray(), 0
    if not fits or parts.data is None or bulk != parts.bulk or number != parts.next:
        raise PeerError("a part that does not follow on the one before")
    parts.data += part
    parts.next += 1
    if parts.next < count:
        return None
    whole, parts.data = bytes(parts.data), None
    return whole


def _tune(channel: Channel) -> None:
    """What is not acknowledged in time ends the connection: after a cut a new one is there sooner."""
    found: socket.socket = channel.writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(_WRITE_SECONDS * 1000))
    channel.writer.transport.set_write_buffer_limits(high=4 * _PART_BYTES)


def _contexts(files: TlsFiles | None) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """For those who dial this one, and for dialling. Who it is stands in the handshake, see ``channel``."""
    if files is None:
        return None, None
    contexts = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context in contexts:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_cert_chain(files.certificate, files.key)
            context.load_verify_locations(files.authority)
        except (OSError, ssl.SSLError) as error:
            raise RaftConfigurationError(
                f"the TLS files of raft, {files.certificate}, {files.key} and {files.authority}, "
                f"cannot be used: {error}"
            ) from error
    return contexts
