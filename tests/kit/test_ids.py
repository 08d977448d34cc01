import time

from kit.ids import uuid7


def test_ids_are_version_7_uuids_of_the_standard_variant():
    identifier = uuid7()
    assert identifier.version == 7
    assert identifier.variant == "specified in RFC 4122"


def test_ids_carry_the_time_they_were_made():
    before = time.time_ns() // 1_000_000
    milliseconds = uuid7().int >> 80
    assert before <= milliseconds <= time.time_ns() // 1_000_000


def test_ids_of_later_milliseconds_sort_later():
    first = uuid7()
    while time.time_ns() // 1_000_000 == first.int >> 80:
        pass
    assert first < uuid7()


def test_ids_of_one_millisecond_differ():
    assert len({uuid7() for _ in range(10_000)}) == 10_000
