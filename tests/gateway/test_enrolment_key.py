"""A password is sealed to the key that is published now, or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from mt5relay_gateway.batch import CommandBatch
from mt5relay_gateway.operating.enrolment import Enrolment
from mt5relay_shared.accounts import AccountId
from mt5relay_shared.envelopes import SealingKey
from mt5relay_shared.errors import MT5StateError
from mt5relay_shared.keys import Keys
from mt5relay_shared.sealing import generate_private_key, load_private_key, public_part
from mt5relay_shared.secret import Secret

ACCOUNT = AccountId(25115284, "MetaQuotes-Demo")


def new_key() -> SealingKey:
    return public_part(load_private_key(generate_private_key()))


@pytest.fixture
async def batch(redis: Any) -> AsyncIterator[CommandBatch]:
    batch = CommandBatch(redis)
    yield batch
    await batch.aclose()


async def test_who_took_long_to_type_the_password_is_told_that_the_key_changed(
    redis: Any, keys: Keys, batch: CommandBatch
) -> None:
    enrolment = Enrolment(batch, keys)
    await redis.set(keys.sealing_key, msgspec.json.encode(confirmed := new_key()))
    await redis.set(keys.sealing_key, msgspec.json.encode(changed := new_key()))
    with pytest.raises(MT5StateError, match=f"from {confirmed.key_id} to {changed.key_id}.*again"):
        await enrolment.add(ACCOUNT, Secret("PlantedSecret"), confirmed)
    assert not await redis.exists(keys.accounts)
    await enrolment.add(ACCOUNT, Secret("PlantedSecret"), changed)
    assert [found.account for found in await enrolment.all()] == [str(ACCOUNT)]
