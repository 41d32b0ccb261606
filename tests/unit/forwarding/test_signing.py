"""Who has the secret can say who calls; nobody else can, and nothing of what was said can be changed."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, fields, replace

import pytest

from services.config import Secret
from services.forwarding.challenges import LASTS_SECONDS, Challenges
from services.forwarding.signing import Claims, InvalidPassError, digest_of, name_digest, sign, verify

SECRET = Secret("s" * 32)
CLAIMS = Claims(
    request=digest_of("GET", "/api/forget/a/1", b""),
    user="ann",
    peer="192.0.2.1",
    front="node-1",
    front_host="host-1",
    to="node-2",
    term=3,
    challenge="c",
)


def test_what_was_signed_is_what_is_read() -> None:
    assert verify(SECRET, sign(SECRET, CLAIMS)) == CLAIMS
    odd = replace(CLAIMS, user="Ünal \x00 'q' \ud800", term=2**70)
    assert verify(SECRET, sign(SECRET, odd)) == odd


def test_the_secret_is_not_in_it() -> None:
    assert SECRET.reveal() not in base64.b64decode(sign(SECRET, CLAIMS).partition(".")[0], b"-_").decode()


def test_another_secret_signs_nothing() -> None:
    with pytest.raises(InvalidPassError, match="not of this setup's secret"):
        verify(SECRET, sign(Secret("t" * 32), CLAIMS))


@pytest.mark.parametrize("field", [field.name for field in fields(Claims)])
def test_every_claim_is_signed(field: str) -> None:
    mac = sign(SECRET, CLAIMS).partition(".")[2]
    claims = asdict(CLAIMS) | {field: 9 if field == "term" else "other"}
    changed = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()
    with pytest.raises(InvalidPassError, match="not of this setup's secret"):
        verify(SECRET, f"{changed}.{mac}")


@pytest.mark.parametrize("header", ["", ".", "x", "a.b", "é.é", "AAAA.AAAA", "AAAA", "=.=" * 4000])
def test_what_is_no_signature_is_refused(header: str) -> None:
    with pytest.raises(InvalidPassError):
        verify(SECRET, header)


@pytest.mark.parametrize(
    "claims",
    [
        [],
        {},
        asdict(CLAIMS) | {"more": "x"},
        asdict(CLAIMS) | {"user": None},
        asdict(CLAIMS) | {"term": True},
        asdict(CLAIMS) | {"term": "3"},
    ],
)
def test_claims_of_another_version_are_refused(claims: object) -> None:
    from services.forwarding import signing

    said = json.dumps(claims).encode()
    header = f"{signing._packed(said)}.{signing._packed(signing._mac(SECRET, said))}"
    with pytest.raises(InvalidPassError, match="another version"):
        verify(SECRET, header)


def test_method_path_and_body_cannot_be_shifted_into_each_other() -> None:
    requests = [("GET", "/a", b"bc"), ("GET", "/ab", b"c"), ("GETA", "/", b"bc"), ("HEAD", "/a", b"bc")]
    assert len({digest_of(*request) for request in requests}) == len(requests)
    assert digest_of("get", "/a", b"") == digest_of("GET", "/a", b"")


def test_a_name_is_told_to_who_knows_it() -> None:
    assert name_digest("a") != name_digest("b")
    assert "node" not in name_digest("node")


# challenges


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_challenge_is_good_once() -> None:
    challenges = Challenges(Clock())
    first, second = challenges.issue(), challenges.issue()
    assert first != second
    assert challenges.redeem(second)
    assert challenges.redeem(first)
    assert not challenges.redeem(first)
    assert not challenges.redeem(second)


def test_a_challenge_expires_and_is_forgotten_only_then() -> None:
    clock = Clock()
    challenges = Challenges(clock)
    early, late = challenges.issue(), challenges.issue()
    assert challenges.redeem(early)
    clock.now += LASTS_SECONDS
    assert not challenges.redeem(early), "it is still remembered"
    clock.now += 0.1
    assert not challenges.redeem(early)
    assert not challenges.redeem(late), "too late"
    assert challenges.redeem(challenges.issue())
    assert len(challenges._used) == 1, "what is over is dropped"


@pytest.mark.parametrize("text", ["", "1-2-3", "x" * 10_000, "100000-" + "0" * 32 + "-" + "0" * 64])
def test_what_was_not_issued_is_no_challenge(text: str) -> None:
    assert not Challenges(Clock()).redeem(text)


def test_another_process_s_challenge_is_none() -> None:
    clock = Clock()
    assert not Challenges(clock).redeem(Challenges(clock).issue())
