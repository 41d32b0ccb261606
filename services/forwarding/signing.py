"""What one node tells another of a request that it passes on, under their secret. Pure.

Signed are the request (method, path with query, digest of the body), who called it and from where, the node
that passes it on and the one that is meant, the newest term that is known to the former, and the challenge
that the latter gave. The signature is an HMAC with SHA-256 under a key that serves nothing else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import asdict, dataclass, fields

from services.config import Secret

__all__ = ["HEADER", "Claims", "InvalidPassError", "digest_of", "name_digest", "sign", "verify"]

HEADER = "X-Orchestray-Passed-On"
_PURPOSE = b"orchestray: a change that is passed on, 1"


class InvalidPassError(Exception):
    """Not signed by a node of this setup, or not for this request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Texts, which are shown in logs; none is a secret."""

    request: str  # see digest_of
    user: str  # empty where the method of authentication knows none
    peer: str  # the caller's address
    front: str  # the node that was asked
    front_host: str
    to: str  # the node that is meant
    term: int  # the newest that the former knows of
    challenge: str


def digest_of(method: str, target: str, body: bytes) -> str:
    """Of one request; ``target`` is path and query as they are on the wire."""
    parts = (method.upper().encode(), target.encode("utf-8", "surrogateescape"), body)
    whole = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hashlib.sha256(whole).hexdigest()


def name_digest(node: str) -> str:
    """Tells a node to who knows its name already, and to nobody else."""
    return hashlib.sha256(node.encode()).hexdigest()[:32]


def sign(secret: Secret, claims: Claims) -> str:
    """The value of HEADER."""
    said = json.dumps(asdict(claims), separators=(",", ":")).encode()
    return f"{_packed(said)}.{_packed(_mac(secret, said))}"


def verify(secret: Secret, header: str) -> Claims:
    """Raises InvalidPassError, which says why."""
    said, _, mac = header.partition(".")
    try:
        octets, theirs = _unpacked(said), _unpacked(mac)
    except (binascii.Error, ValueError):
        raise InvalidPassError("it is not signed") from None
    if not hmac.compare_digest(_mac(secret, octets), theirs):
        raise InvalidPassError("its signature is not of this setup's secret")
    try:
        claims = Claims(**json.loads(octets))
    except (TypeError, ValueError):
        raise InvalidPassError("it was signed by another version of orchestray") from None
    for field in fields(Claims):
        if type(getattr(claims, field.name)) is not (int if field.name == "term" else str):
            raise InvalidPassError("it was signed by another version of orchestray")
    return claims


def _mac(secret: Secret, said: bytes) -> bytes:
    key = hmac.new(secret.reveal().encode(), _PURPOSE, hashlib.sha256).digest()
    return hmac.new(key, said, hashlib.sha256).digest()


def _packed(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode()


def _unpacked(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii"), b"-_", validate=True)
