"""schemathesis over the OpenAPI document of a node: whatever is asked, the reply is one that it describes."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import requests
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its imports
    import schemathesis
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

__all__ = ["fuzz"]

_CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
"""Not `not_a_server_error`: the reference answers every error with 500. What it does not ask for, a crash,
has neither the type nor the schema of its error envelope."""
_ANSWER_SECONDS = 40


def fuzz(
    url: str, document: Any, *, real: Sequence[tuple[str, int]], examples: int, number: int = 0
) -> Counter[str]:
    """Ask each operation so many times; half of them about one of the ``real`` servers.

    Returns how many replies had which status. What is not as described raises, with the request.
    """
    counts: Counter[str] = Counter()
    with warnings.catch_warnings(), requests.Session() as session:
        warnings.simplefilter("ignore")
        for operation in _operations(document):
            _ask(operation, url, session, real, examples, number, counts)
    return counts


def _operations(document: Any) -> Iterator[Any]:
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        yield found.ok()


def _ask(
    operation: Any,
    url: str,
    session: requests.Session,
    real: Sequence[tuple[str, int]],
    examples: int,
    number: int,
    counts: Counter[str],
) -> None:
    positive = operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE)
    parameters = {one.name for one in operation.path_parameters} | {one.name for one in operation.query}
    strategy = positive
    if parameters:
        strategy |= operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)

    @seed(number)
    @settings(
        max_examples=examples if parameters else 2,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy, server=st.sampled_from(real), is_real=st.booleans())
    def ask(case: Any, server: tuple[str, int], is_real: bool) -> None:
        if is_real and "host" in (case.path_parameters or {}):
            case.path_parameters |= {"host": server[0], "port": server[1]}
        reply = case.call(base_url=url, session=session, timeout=_ANSWER_SECONDS)
        counts[str(reply.status_code)] += 1
        case.validate_response(reply, checks=_CHECKS)

    ask()
