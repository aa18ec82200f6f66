"""`store check` of the Redis DLQ: it finds what is wrong, and no race makes it accuse a working system."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from store import database
from store.dead_letters.edits import Edit
from store.errors import QueueUnavailable
from worker.dead_letters import mirror, mirror_check
from worker.dead_letters.mirror import INDEX_KEY, LETTERS_KEY
from worker.dead_letters.mirror_check import Agreement, Suspect, Wrong

from ..plant import Plant, ndjson, row

BAD = ndjson(row("a", value="x"), row("b", value="x"))
STRANGE = "f" * 32
GOOD_VALUE = Edit(set={"value": 1})


def at_once(_: float) -> None:
    """A pause in which nothing happens."""


def check(plant: Plant, pause: Callable[[float], None] = at_once) -> Agreement:
    return mirror_check.confirmed(plant.redis, plant.engine, pause)


def repair(plant: Plant) -> int:
    return mirror_check.repair(plant.redis, plant.engine, at_once)


def open_ids(plant: Plant) -> set[str]:
    return {letter.id for letter in plant.letters()}


def reject_again(plant: Plant, number: int = 0) -> None:
    """The same payloads come once more, in another file."""
    plant.run(BAD + ndjson(row(f"good-{number}")), f"again-{number}.ndjson")


def wrongs(plant: Plant) -> dict[str, Wrong]:
    return {id: suspect.wrong for id, suspect in check(plant).suspects.items()}


def tamper(plant: Plant, statement: str) -> None:
    with database.transaction(plant.engine) as connection:
        connection.execute(text(statement))


@pytest.fixture
def letters(plant: Plant) -> Plant:
    """Two open letters, on the DLQ."""
    plant.run(BAD)
    return plant


def once(do: Callable[[], object]) -> Callable[..., None]:
    """Does it the first time that it is called."""
    rest = [do]

    def call(*_: Any) -> None:
        if rest:
            rest.pop()()

    return call


def before(monkeypatch: pytest.MonkeyPatch, name: str, do: Callable[[], object]) -> None:
    """Lets something happen right before the check does this for the first time."""
    then, interfere = getattr(mirror_check, name), once(do)

    def interrupted(*given: Any) -> Any:
        interfere()
        return then(*given)

    monkeypatch.setattr(mirror_check, name, interrupted)


# --- what is wrong is found, and repaired ---


def test_a_dlq_that_says_what_the_table_says_is_right(letters: Plant) -> None:
    assert check(letters) == Agreement({}, 0)


@pytest.mark.parametrize("key", [INDEX_KEY, LETTERS_KEY])
def test_a_letter_is_missing_without_its_time_or_its_envelope(letters: Plant, key: str) -> None:
    lost = min(open_ids(letters))
    letters.redis.zrem(key, lost) if key == INDEX_KEY else letters.redis.hdel(key, lost)
    assert wrongs(letters) == {lost: "missing"}
    assert repair(letters) == 1
    assert wrongs(letters) == {}


@pytest.mark.parametrize(
    "change", [{"reason": "late"}, {"payload": "{}"}, {"occurrences": 7}, {"line": None}, {"more": 1}]
)
def test_an_envelope_that_says_something_else_is_found(letters: Plant, change: dict[str, Any]) -> None:
    id = min(open_ids(letters))
    body = orjson.loads(letters.redis.hget(LETTERS_KEY, id)) | change
    letters.redis.hset(LETTERS_KEY, id, orjson.dumps(body))
    assert check(letters).sentences() == [
        f"the envelope of letter {id} on the DLQ says something else than the table"
    ]
    assert repair(letters) == 1
    assert wrongs(letters) == {}


@pytest.mark.parametrize("spoilt", [b"", b"nonsense", b"\xff", b"[]"])
def test_an_envelope_that_is_none_is_found(letters: Plant, spoilt: bytes) -> None:
    letters.redis.hset(LETTERS_KEY, min(open_ids(letters)), spoilt)
    assert list(wrongs(letters).values()) == ["other"]


def test_an_envelope_in_another_order_of_its_fields_says_the_same(letters: Plant) -> None:
    for id, envelope in letters.redis.hgetall(LETTERS_KEY).items():
        body = dict(reversed(orjson.loads(envelope).items()))
        letters.redis.hset(LETTERS_KEY, id, orjson.dumps(body, option=orjson.OPT_INDENT_2))
    assert wrongs(letters) == {}


def test_another_time_in_the_index_is_found(letters: Plant) -> None:
    letters.redis.zadd(INDEX_KEY, {min(open_ids(letters)): 1})
    assert list(wrongs(letters).values()) == ["other"]


@pytest.mark.parametrize("member", [STRANGE.encode(), b"", b"\xff\n"])
@pytest.mark.parametrize("key", [INDEX_KEY, LETTERS_KEY])
def test_what_is_no_letter_is_found_in_the_index_and_among_the_envelopes(
    letters: Plant, key: str, member: bytes
) -> None:
    letters.redis.zadd(key, {member: 0}) if key == INDEX_KEY else letters.redis.hset(key, member, b"")
    assert list(wrongs(letters).values()) == ["strange"]
    assert repair(letters) == 1
    assert wrongs(letters) == {}
    assert len(letters.mirrored()) == 2


def test_a_resolved_letter_that_is_back_on_the_dlq_is_found(letters: Plant) -> None:
    held = letters.redis.hgetall(LETTERS_KEY)
    letters.replay(GOOD_VALUE)
    letters.work()
    letters.load()
    letters.redis.hset(LETTERS_KEY, mapping=held)
    assert set(wrongs(letters).values()) == {"strange"}
    assert repair(letters) == 2
    assert letters.redis.hgetall(LETTERS_KEY) == {}


def test_many_letters_are_looked_at_in_pieces(letters: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    letters.run(ndjson(*(row(str(number), value="x") for number in range(7))), "more.ndjson")
    monkeypatch.setattr(mirror_check, "IDS_AT_ONCE", 2)
    monkeypatch.setattr(mirror_check.outbox, "IDS_AT_ONCE", 2)
    assert wrongs(letters) == {}
    letters.redis.delete(INDEX_KEY)
    assert len(wrongs(letters)) == 9
    assert repair(letters) == 9
    assert wrongs(letters) == {}


def test_what_waits_is_no_violation_for_a_minute_and_one_afterwards(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise QueueUnavailable("Redis went away")

    with monkeypatch.context() as broken:
        broken.setattr(mirror, "publish", fail)
        plant.send(BAD)
        plant.work()
    assert check(plant) == Agreement({}, 2)
    tamper(
        plant, "UPDATE dead_letters SET last_seen_at = '2025-01-15T12:00:00.000000Z' WHERE record_key = 'a'"
    )
    assert list(wrongs(plant).values()) == ["overdue"]
    repair(plant)
    assert check(plant) == Agreement({}, 0)
    assert plant.mirrored() == open_ids(plant)


def test_what_is_wrong_is_found_page_by_page(letters: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ids on the DLQ are never held together, however many they are."""
    letters.run(ndjson(*(row(f"n{each}", value=f"x{each}") for each in range(7))), "more.ndjson")
    for each in range(300):
        letters.redis.zadd(mirror.INDEX_KEY, {f"{each:032x}": 1.0})
        letters.redis.hset(mirror.LETTERS_KEY, f"{each + 290:032x}", b"{}")
    monkeypatch.setattr(mirror_check, "IDS_AT_ONCE", 50)
    asked = []
    standings = mirror_check.outbox.standings
    monkeypatch.setattr(
        mirror_check.outbox, "standings", lambda on, ids: asked.append(len(ids)) or standings(on, ids)
    )
    found = mirror_check.look(letters.redis, letters.engine)
    assert found == {f"{each:032x}": Suspect("strange", None) for each in range(590)}
    assert max(asked) <= 50


# --- no race accuses, and no repair costs a letter ---


def test_a_letter_that_comes_between_the_looks_at_table_and_redis_is_not_strange(
    letters: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    before(monkeypatch, "_all_ids", lambda: letters.run(ndjson(row("new", value="x")), "new.ndjson"))
    assert check(letters) == Agreement({}, 0)
    assert len(letters.mirrored()) == 3


def test_a_letter_that_is_resolved_between_the_looks_is_not_missing(
    letters: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve() -> None:
        letters.replay(GOOD_VALUE)
        letters.work()

    before(monkeypatch, "_held", resolve)
    assert check(letters) == Agreement({}, 0)
    assert letters.mirrored() == set()


def test_a_letter_that_is_rejected_again_between_the_looks_has_no_wrong_envelope(
    letters: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    before(monkeypatch, "_held", lambda: reject_again(letters))
    assert check(letters) == Agreement({}, 0)
    assert {letter.occurrences for letter in letters.letters()} == {2}


def test_a_letter_that_is_rejected_again_before_each_look_has_no_wrong_envelope(
    letters: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(range(99))
    held = mirror_check._held

    def again(*given: Any) -> Any:
        reject_again(letters, next(numbers))
        return held(*given)

    monkeypatch.setattr(mirror_check, "_held", again)
    assert check(letters).suspects == {}
    assert next(numbers) > 2


def test_a_letter_opened_again_while_it_is_removed_is_missing_only_until_that_is_noted(
    letters: Plant,
) -> None:
    """One worker has read that the letters are to be removed; another publishes them anew; the first removes them."""
    resolved = sorted(open_ids(letters))
    letters.replay(GOOD_VALUE)
    letters.work()
    reject_again(letters)
    mirror.remove(letters.redis, resolved)
    assert set(wrongs(letters).values()) == {"missing"}
    noted = once(lambda: mirror._record(letters.engine, [], resolved))
    assert check(letters, noted) == Agreement({}, 2)


def test_a_repair_removes_nothing_that_became_an_open_letter_after_it_was_looked_at(
    letters: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    [new] = letters.messages(letters.file(ndjson(row("new", value="x")), "new.ndjson"))
    confirmed = mirror_check.confirmed

    def then_a_letter_comes(*given: Any) -> Agreement:
        found = confirmed(*given)
        letters.broker.send([new])
        letters.work()
        return found

    letters.broker.send([new])
    letters.work()
    [id] = open_ids(letters) - {letter.id for letter in letters.letters() if letter.record_key != "new"}
    tamper(letters, f"DELETE FROM dead_letters WHERE id = '{id}'")  # noqa: S608 - as if it had not come yet
    tamper(letters, "DELETE FROM lineage_events WHERE record_key = 'new'")
    tamper(letters, "DELETE FROM batches WHERE file LIKE '%new%'")
    monkeypatch.setattr(mirror_check, "confirmed", then_a_letter_comes)
    removed: list[str] = []
    remove = mirror.remove
    monkeypatch.setattr(mirror, "remove", lambda redis, ids: (removed.extend(ids), remove(redis, ids)))
    repair(letters)
    assert id not in removed  # not even for the moment until it would be published again
    assert id in open_ids(letters)
    assert letters.mirrored() == open_ids(letters)


def test_a_letter_resolved_while_it_is_repaired_does_not_stay_on_the_dlq(
    letters: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters.redis.hset(LETTERS_KEY, min(open_ids(letters)), b"{}")
    confirmed = mirror_check.confirmed

    def then_it_is_resolved(*given: Any) -> Agreement:
        found = confirmed(*given)
        with monkeypatch.context() as crash:  # of the worker, before it tells the DLQ
            crash.setattr(mirror, "flush_outbox", at_once_flush)
            letters.replay(GOOD_VALUE)
            letters.work()
        return found

    monkeypatch.setattr(mirror_check, "confirmed", then_it_is_resolved)
    repair(letters)
    assert open_ids(letters) == letters.mirrored() == set()
    assert letters.redis.hgetall(LETTERS_KEY) == {}


def at_once_flush(*_: Any) -> int:
    return 0
