"""GtidSet says of any text what a real MySQL server says of it.

Each example is a batch of texts or pairs, asked in one statement or on one connection.
"""

from __future__ import annotations

from typing import Any

import pymysql
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.sandbox.binaries import Mysqld
from services.topology.gtid import MAX_GNO, GtidSet, GtidSyntaxError
from tests.gtid_texts import UUIDS, Sample, samples
from tests.servers import StandaloneServer, short_directory

pytestmark = pytest.mark.timeout(180)

A, B, _ = UUIDS
_ER_MALFORMED_GTID_SET_SPECIFICATION = 1772

# Pieces of texts, right and wrong ones, to put together in any order.
_TOKENS = (
    *(A, A.upper(), B.replace("-", ""), "{" + A + "}", A[:-1], A[:30]),
    *("{", "}", ":", ":", ":", ",", ",", "-", " ", "\n", "\t", "\v\f\r", "+", ";", "\0", "\x1c", "\u00a0"),
    *("0", "1", "5", "07", "12", "1-3", "5-2", "0-3", "3-0", " 2 - 4 ", "1-2-3", "é", "\u0661", "\u212a"),
    *(str(MAX_GNO), str(MAX_GNO + 1), str(MAX_GNO + 2), f"1-{MAX_GNO + 1}", "9" * 30, "0" * 30 + "4"),
    *("tag", "Tag_1", "_", "9a", "a-b", "t" * 32, "t" * 33, "0x1", "1e3", "AUTOMATIC", "ANONYMOUS"),
)


@st.composite
def _damaged(draw: st.DrawFn) -> str:
    """A valid text with one piece put in, or one character taken out."""
    text = draw(samples()).text
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(st.sampled_from(("", *_TOKENS))) + text[at + draw(st.integers(0, 1)) :]


def _ask(server: StandaloneServer, expressions: list[str], arguments: list[str]) -> list[Any]:
    """The values of many expressions, in one statement."""
    columns = ", ".join(f"{expression} AS c{number}" for number, expression in enumerate(expressions))
    [row] = server.query(f"SELECT {columns}", arguments)
    return [_text(row[f"c{number}"]) for number in range(len(expressions))]


def _text(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value


@settings(max_examples=100, deadline=None)
@given(batch=st.lists(samples(), min_size=20, max_size=40))
def test_the_canonical_text_is_the_servers(mysql_server: StandaloneServer, batch: list[Sample]) -> None:
    texts = [sample.text for sample in batch]
    assert [str(GtidSet.parse(text)) for text in texts] == _ask(
        mysql_server, ["GTID_SUBTRACT(%s, '')"] * len(texts), texts
    )


@settings(max_examples=150, deadline=None)
@given(batch=st.lists(st.tuples(samples(), samples()), min_size=10, max_size=20))
def test_operations_agree_with_the_server(
    mysql_server: StandaloneServer, batch: list[tuple[Sample, Sample]]
) -> None:
    expressions: list[str] = []
    arguments: list[str] = []
    ours: list[object] = []
    for left, right in batch:
        a, b = left.text, right.text
        x, y = GtidSet.parse(a), GtidSet.parse(b)
        for mine, expression, values in (
            (str(x - y), "GTID_SUBTRACT(%s, %s)", (a, b)),
            (str(y - x), "GTID_SUBTRACT(%s, %s)", (b, a)),
            (str(x | y), "GTID_SUBTRACT(CONCAT(%s, ',', %s), '')", (a, b)),
            (str(x & y), "GTID_SUBTRACT(%s, GTID_SUBTRACT(%s, %s))", (a, a, b)),
            (int(y >= x), "GTID_SUBSET(%s, %s)", (a, b)),
            (int(x >= y), "GTID_SUBSET(%s, %s)", (b, a)),
            (int(x | y >= x), "GTID_SUBSET(%s, CONCAT(%s, ',', %s))", (a, a, b)),
        ):
            ours.append(mine)
            expressions.append(expression)
            arguments += values
    assert ours == _ask(mysql_server, expressions, arguments)


@settings(max_examples=100, deadline=None)
@given(
    batch=st.lists(
        st.one_of(st.lists(st.sampled_from(_TOKENS), max_size=8).map("".join), _damaged()),
        min_size=10,
        max_size=30,
    )
)
@example(batch=[f"{A}:{token}" for token in _TOKENS])
@example(batch=[f"{A}:1:{token}:2" for token in _TOKENS])
@example(batch=list(_TOKENS))
def test_what_a_server_refuses_is_refused_and_nothing_else(
    mysql_server: StandaloneServer, batch: list[str]
) -> None:
    strange = [text for text in batch if not text.isascii()]
    # Not asked of the server, whose answer to other bytes in the place of a tag is what lies in its memory.
    assert [_our_verdict(text) for text in strange] == ["refused"] * len(strange)
    batch = [text for text in batch if text.isascii()]
    ours = [_our_verdict(text) for text in batch]
    with mysql_server.root() as connection, connection.cursor() as cursor:
        theirs: list[object] = []
        for text in batch:
            try:
                cursor.execute("SELECT GTID_SUBTRACT(%s, '') AS answer", (text,))
            except pymysql.MySQLError as error:
                assert error.args[0] == _ER_MALFORMED_GTID_SET_SPECIFICATION
                theirs.append("refused")
            else:
                [row] = cursor.fetchall()
                theirs.append(_text(row["answer"]))
    assert list(zip(batch, ours, strict=True)) == list(zip(batch, theirs, strict=True))


def _our_verdict(text: str) -> str:
    try:
        return str(GtidSet.parse(text))
    except GtidSyntaxError:
        return "refused"


def test_what_a_server_executed_is_printed_as_it_prints_it(mysqld: Mysqld) -> None:
    """``@@gtid_executed`` after real transactions, tagged ones among them."""
    folder = short_directory()
    server = StandaloneServer(mysqld, folder / "s")
    try:
        server.start()
        uuid = server.variable("server_uuid")
        server.execute(
            "RESET BINARY LOGS AND GTIDS",
            f"SET GLOBAL gtid_purged = '{B.upper()}:7:Tag:3-4:1-2:9, {A}:5-8:1'",
            "CREATE DATABASE d1",
            "SET gtid_next = 'AUTOMATIC:tag_b'",
            "CREATE DATABASE d2",
            "CREATE DATABASE d3",
            "SET gtid_next = 'AUTOMATIC:A'",
            "CREATE DATABASE d4",
            f"SET gtid_next = '{uuid}:9'",
            "CREATE DATABASE d5",
        )
        executed = server.variable("gtid_executed")
    finally:
        server.destroy()
        folder.rmdir()
    expected = GtidSet.parse(f"{uuid}:1:9,{uuid}:tag_b:1-2,{uuid}:a:1,{B}:tag:1-4:9,{B}:7,{A}:1:5-8")
    assert GtidSet.parse(executed) == expected
    assert executed == str(expected)
