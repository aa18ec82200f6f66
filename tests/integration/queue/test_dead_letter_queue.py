"""The Redis DLQ: a mirror of the open dead letters, written after the commit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest

from store import database, timestamps
from store.errors import QueueUnavailable
from store.tables import dead_letters
from worker.dead_letters import mirror, mirror_check
from worker.dead_letters.mirror import INDEX_KEY, LETTERS_KEY

from ..plant import Plant, ndjson, row

BAD = ndjson({"key": "a"}, row("b", value="x"), row("good"))


DOCUMENT = Path(__file__).parents[3] / "docs" / "dead-letters.md"
JSON_TYPE_OF = {
    str: "string",
    int: "number",
    bool: "boolean",
    list: "array",
    dict: "object",
    type(None): "null",
}
JSON_TYPES = set(JSON_TYPE_OF.values())


def open_ids(plant: Plant) -> set[str]:
    return {letter.id for letter in plant.letters()}


def test_every_open_letter_is_mirrored_when_its_batch_is_done(plant: Plant) -> None:
    plant.send(BAD)
    plant.work()
    assert len(open_ids(plant)) == 2
    assert plant.mirrored() == open_ids(plant)
    assert {id.decode() for id in plant.redis.hkeys(LETTERS_KEY)} == open_ids(plant)


def test_an_envelope_tells_consumers_what_was_wrong_and_where(plant: Plant) -> None:
    plant.send(ndjson(row("b", value="x")))
    plant.work()
    (letter,) = plant.letters()
    body = orjson.loads(plant.redis.hget(LETTERS_KEY, letter.id))
    assert (body["reason"], body["line"], body["payload_complete"]) == ("invalid_value", 1, True)
    assert (body["source"], body["record_key"], body["file"]) == ("default", "b", letter.file)
    assert orjson.loads(body["payload"]) == row("b", value="x")
    seen = timestamps.from_text(letter.first_seen_at).timestamp()
    assert plant.redis.zscore(INDEX_KEY, letter.id) == pytest.approx(seen)


def test_the_documents_list_every_field_of_an_envelope_with_its_types(plant: Plant) -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([a-z ]+) \|", DOCUMENT.read_text(), re.MULTILINE)
    documented = {
        name: set(types.split(" or ")) for name, types in rows if set(types.split(" or ")) <= JSON_TYPES
    }
    plant.send(ndjson(row("b", value="x"), {"name": "n" * 3000}), "a.ndjson", max_record_bytes=2000)
    plant.send(b"key,name,value,ts\na,n,x,2025-01-15\n\x80,n,1,2025-01-15\n", "b.csv")
    plant.work()
    found: dict[str, set[str]] = {}
    for text in plant.redis.hvals(LETTERS_KEY):
        for name, value in orjson.loads(text).items():
            found.setdefault(name, set()).add(JSON_TYPE_OF[type(value)])
    assert found == documented


def test_a_long_payload_is_cut_in_the_envelope_and_whole_in_the_table(plant: Plant) -> None:
    plant.send(ndjson(row(value="x", name="n" * 50_000)))
    plant.work()
    (letter,) = plant.letters()
    body = orjson.loads(plant.redis.hget(LETTERS_KEY, letter.id))
    assert body["payload_complete"] is False
    assert len(body["payload"]) < len(letter.payload)


def test_the_same_payload_again_raises_occurrences_and_makes_no_second_letter(plant: Plant) -> None:
    plant.run(BAD + BAD)
    plant.run(BAD, "again.ndjson", batch_records=1)
    assert sorted(letter.occurrences for letter in plant.letters()) == [3, 3]
    assert plant.report()["rejected"] == 6
    assert plant.mirrored() == open_ids(plant)
    assert plant.violations() == []


def test_the_same_payload_of_two_sources_is_two_letters(plant: Plant) -> None:
    plant.run(b"nonsense", source="north")
    plant.run(b"nonsense", source="south")
    assert {letter.source for letter in plant.letters()} == {"north", "south"}


def fail_to_publish(*_: Any) -> None:
    raise QueueUnavailable("Redis went away")


def test_what_a_crash_after_the_commit_left_unpublished_is_published_by_the_loader(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(mirror, "publish", fail_to_publish)
        plant.send(BAD)
        plant.work()
    assert len(open_ids(plant)) == 2
    assert plant.mirrored() == set()
    plant.load()
    assert plant.mirrored() == open_ids(plant)


def test_of_a_long_payload_the_outbox_reads_no_more_than_it_publishes(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(mirror, "publish", fail_to_publish)
        plant.send(ndjson(row(value="x", name="n" * 50_000)))
        plant.work()
    with database.reading(plant.engine) as connection:
        (read,) = dead_letters.unpublished(connection, 9, 100)
    assert len(read.payload) == 100
    mirror.flush_outbox(plant.redis, plant.engine)
    (letter,) = plant.letters()
    assert plant.redis.hgetall(LETTERS_KEY) == {letter.id.encode(): mirror.published(letter).envelope}


def test_what_the_outbox_could_not_publish_stays_in_it(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(mirror, "publish", fail_to_publish)
        plant.send(BAD)
        plant.work()
        with pytest.raises(QueueUnavailable):
            mirror.flush_outbox(plant.redis, plant.engine)
    assert mirror.flush_outbox(plant.redis, plant.engine) == 2
    assert plant.mirrored() == open_ids(plant)


def test_what_a_crash_after_the_commit_left_unpublished_is_published_by_the_second_delivery(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    (message,) = plant.messages(plant.file(BAD))
    with monkeypatch.context() as broken:
        broken.setattr(mirror, "publish", fail_to_publish)
        plant.broker.send([message])
        plant.work()
    before = plant.report()
    plant.broker.send([message])
    plant.work()
    assert plant.mirrored() == open_ids(plant)
    assert plant.report() == before


def test_a_crash_between_publishing_and_its_record_publishes_again_to_no_effect(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise QueueUnavailable("the worker died")

    with monkeypatch.context() as broken:
        broken.setattr(dead_letters, "record_published", die)
        plant.send(BAD)
        plant.work()
    assert plant.mirrored() == open_ids(plant)
    held = plant.redis.hgetall(LETTERS_KEY)
    plant.load()
    assert plant.redis.hgetall(LETTERS_KEY) == held
    with database.reading(plant.engine) as connection:
        assert dead_letters.unpublished(connection, 10) == []


def test_a_new_letter_is_published_as_the_table_would_tell_of_it(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    payloads = [b"key,name,value,ts\na,b,x,2025-01-15T12:00:00Z\n", b"k\xff\n{\n\x00\n" + b"n" * 50_000]
    plant.run(payloads[0], "a.csv")
    plant.run(payloads[1])
    held = plant.redis.hgetall(LETTERS_KEY)
    assert len(held) == 5
    with database.reading(plant.engine) as connection:
        letters = dead_letters.select_letters(connection)
    assert {letter.id.encode(): mirror.published(letter).envelope for letter in letters} == held


def test_a_letter_that_is_rejected_again_before_it_is_marked_is_published_as_it_then_is(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish, waiting = mirror.publish, [plant.file(BAD + ndjson(row("new")), "again.ndjson")]

    def slowly(*given: Any) -> None:
        if waiting:
            (message,) = plant.messages(waiting.pop(), batch_records=9)
            with monkeypatch.context() as other:
                other.setattr(mirror, "publish", publish)
                plant.broker.send([message])
                plant.work()
        publish(*given)

    monkeypatch.setattr(mirror, "publish", slowly)
    plant.run(BAD)
    reported = [orjson.loads(each)["occurrences"] for each in plant.redis.hvals(LETTERS_KEY)]
    assert reported == [letter.occurrences for letter in plant.letters()] == [2, 2]


def test_drift_is_found_and_repaired_both_ways(plant: Plant) -> None:
    plant.send(BAD)
    plant.work()
    lost = min(open_ids(plant))
    mirror.remove(plant.redis, [lost])
    plant.redis.zadd(INDEX_KEY, {"f" * 32: 1})
    assert mirror.drift(plant.redis, plant.engine) == ({lost}, {"f" * 32})
    assert mirror_check.repair(plant.redis, plant.engine, lambda _: None) == 2
    assert plant.mirrored() == open_ids(plant)
    assert mirror_check.repair(plant.redis, plant.engine, lambda _: None) == 0


def test_more_letters_than_one_page_are_all_mirrored(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "PAGE", 3)
    plant.send(ndjson(*(row(str(n), value="x") for n in range(10))))
    plant.work()
    assert len(plant.mirrored()) == mirror.count(plant.redis) == 10
