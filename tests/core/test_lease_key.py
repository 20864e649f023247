"""Lease keys: a key contains its owner, and a foreign key has no owner."""

import uuid
from uuid import UUID

import pytest

from worker.queue.leases import LeaseOwner

OWNERS = {
    "noughts": LeaseOwner(0, 0),
    "ones": LeaseOwner(2**32 - 1, 2**32 - 1),
    "instance alone": LeaseOwner(2**32 - 1, 0),
    "incarnation alone": LeaseOwner(0, 2**32 - 1),
    "any": LeaseOwner(0x01234567, 0x89ABCDEF),
}


@pytest.mark.parametrize("owner", OWNERS.values(), ids=OWNERS.keys())
def test_a_key_contains_instance_and_incarnation(owner: LeaseOwner) -> None:
    """A key is a UUID of version 8. Instance and incarnation can be read from it, also from its text."""
    keys = [owner.new_key() for _ in range(100)]
    assert {(key.version, key.variant) for key in keys} == {(8, uuid.RFC_4122)}
    assert {LeaseOwner.of(UUID(str(key))) for key in keys} == {owner}


def test_no_two_keys_are_the_same() -> None:
    """Every lease of one worker has a key of its own, because the key is the fence."""
    owner = OWNERS["any"]
    assert len({owner.new_key() for _ in range(10_000)}) == 10_000


def test_58_bits_are_random() -> None:
    """Between instance and incarnation, every bit except version and variant takes both values."""
    owner, always, ever = OWNERS["noughts"], 2**128 - 1, 0
    for _ in range(200):
        number = owner.new_key().int
        always, ever = always & number, ever | number
    assert (ever & ~always).bit_count() == 58


FOREIGN = {
    "version 1": uuid.uuid1(),
    "version 3": uuid.uuid3(uuid.NAMESPACE_DNS, "platform"),
    "version 4": uuid.uuid4(),
    "version 5": uuid.uuid5(uuid.NAMESPACE_DNS, "platform"),
    "version 7": UUID("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"),
    "nil": UUID(int=0),
    "max": UUID(int=2**128 - 1),
    "8 in another variant": UUID("01234567-0000-8000-c000-000089abcdef"),
}


@pytest.mark.parametrize("key", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_foreign_key_has_no_owner(key: UUID) -> None:
    """A key of another kind, such as the platform's own worker's, names no owner that could be declared dead."""
    assert LeaseOwner.of(key) is None
