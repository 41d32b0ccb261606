"""What the Leader says of a change that its store did not carry out, or may have."""

from __future__ import annotations

import pytest

from actors.leader import LeaderActor
from services.node_errors import OutcomeUnknownError, UnavailableError
from services.store.errors import StoreError, StoreFullError, StoreTimeoutError


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StoreTimeoutError("no answer within 3 s"), OutcomeUnknownError),
        (StoreFullError("no room"), UnavailableError),
    ],
)
async def test_only_what_did_not_happen_is_called_undone(error: StoreError, told: type[Exception]) -> None:
    async def work() -> None:
        raise error

    with pytest.raises(told, match=str(error)):
        await LeaderActor._stored(work())
