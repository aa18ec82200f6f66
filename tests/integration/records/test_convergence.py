"""One digest, however the same deliveries are written, cut, shuffled, doubled, redelivered and loaded."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from worker import jobs, loader
from worker.queue.message import Message
from worker.workplace import Workplace

from ..conftest import EmptyStore
from ..plant import Plant, opened

Rows = Sequence[dict[str, Any]]
FIELDS = ("key", "name", "value", "ts", "note")
LONG_AGO = "2025-01-15T08:00:0{}Z"


def as_csv(rows: Rows) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_pretty(rows: Rows) -> bytes:
    return json.dumps(list(rows), indent=2, ensure_ascii=True).encode()


# How the same records may be written: (file name, content, path of the records).
WRITTEN: dict[str, tuple[str, Callable[[Rows], bytes], str | None]] = {
    "ndjson": ("r.ndjson", lambda rows: b"\n".join(map(orjson.dumps, rows)), None),
    "array": ("r.json", lambda rows: orjson.dumps(list(rows)), None),
    "pretty": ("r.json", as_pretty, None),
    "path": ("r.json", lambda rows: orjson.dumps({"a": 1, "d": {"rows": list(rows)}}), "d.rows"),
    "csv": ("r.csv", as_csv, None),
}
WRITTEN |= {
    f"{name}.gz": (f"{file}.gz", lambda rows, write=write: gzip.compress(write(rows)), path)
    for name, (file, write, path) in WRITTEN.items()
}


def many_rows(seed: int = 7) -> list[dict[str, Any]]:
    """Clashing keys, equal timestamps with other content, repeats, and invalid ones among them."""
    chance = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for _ in range(45):
        each: dict[str, Any] = {
            "key": f"k{chance.randrange(8)}",
            "name": chance.choice(["pump", "Ventil Ø", 'quo"ted, cell']),
            "value": chance.choice([0, -1, 2.5, 1e-7, 123456789]),
            "ts": LONG_AGO.format(chance.randrange(4)),
        }
        if chance.random() < 0.3:
            each["note"] = chance.choice(["a", "b"])
        broken = chance.randrange(12)
        if broken < 4:
            each[FIELDS[broken]] = ("", " ", "cloudy", "never")[broken]
        elif broken == 4:
            del each[chance.choice(FIELDS[:4])]
        rows.append(each)
    return rows + rows[:6] + rows[15:]  # repeats of what loses, and of what wins


BY_HASH = '[sources.default]\nties = "hash"\n'

EXPECTED: dict[str, str] = {}  # configuration -> digest


@pytest.fixture
def expected(make_plant: Callable[[], Plant]) -> str:
    """The digest of `many_rows` sent the plain way, which is made once."""
    return plain_digest(make_plant, "")


@pytest.fixture
def expected_by_hash(make_plant: Callable[[], Plant]) -> str:
    """The same, where hashes decide ties."""
    return plain_digest(make_plant, BY_HASH)


def plain_digest(make_plant: Callable[[], Plant], toml: str) -> str:
    if toml not in EXPECTED:
        plant = make_plant()
        plant.configure(toml)
        plant.run(b"\n".join(map(orjson.dumps, many_rows())))
        found = plant.report()
        assert min(found[name] for name in ("rejected", "duplicates", "superseded", "conflicts")) > 2
        assert plant.violations() == []
        EXPECTED[toml] = plant.digest()
    return EXPECTED[toml]


def take(message: Message) -> None:
    """A worker's job, without RQ, whose part is twice the job's: no answer here depends on it."""
    jobs.process_batch(orjson.loads(orjson.dumps(message.to_wire())))


@contextmanager
def redis_of(plant: Plant) -> Iterator[None]:
    """Jobs that are called without RQ use the Redis of this plant."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Workplace, "redis", lambda _: plant.redis)
        yield


FORMS = [*((form, 7) for form in WRITTEN), ("ndjson", 5000), ("csv.gz", 5000)]


@pytest.mark.parametrize(("form", "batch_records"), [*FORMS, ("ndjson", 1), ("csv", 1)])
def test_the_same_records_in_any_format_and_cut_give_one_digest(
    make_plant: Callable[[], Plant], expected: str, form: str, batch_records: int
) -> None:
    plant = make_plant()
    name, write, path = WRITTEN[form]
    rows = many_rows()
    messages = plant.messages(plant.file(write(rows), name), batch_records=batch_records, records=path)
    random.Random(batch_records).shuffle(messages)
    with redis_of(plant):
        for message in messages:
            take(message)
        jobs.load_staged()
    assert plant.report()["input_records"] == len(rows)
    assert plant.digest() == expected
    assert plant.violations() == []


# Batches of one record are asked about above, and of few by random examples below.
@pytest.mark.parametrize(("form", "batch_records"), [*FORMS, ("ndjson", 3), ("csv", 3)])
def test_with_ties_by_hash_the_same_records_in_any_order_too_give_one_digest(
    make_plant: Callable[[], Plant], expected_by_hash: str, form: str, batch_records: int
) -> None:
    name, write, path = WRITTEN[form]
    rows, plant = many_rows(), make_plant()
    plant.configure(BY_HASH)
    random.Random(batch_records).shuffle(rows)
    with redis_of(plant):
        for half in (rows[::2], rows[1::2]):
            for message in plant.messages(
                plant.file(write(half), name), batch_records=batch_records, records=path
            ):
                take(message)
            jobs.load_staged()
    assert plant.report()["conflicts"] > 0
    assert plant.violations() == []
    assert plant.digest() == expected_by_hash


def test_one_store_fed_with_every_format_keeps_the_digest_of_one(
    make_plant: Callable[[], Plant], expected: str
) -> None:
    plant = make_plant()
    for name, write, path in WRITTEN.values():
        plant.run(write(many_rows()), name, records=path)
    assert len(plant.rows("deliveries", "seq")) == len(WRITTEN)
    assert plant.digest() == expected
    assert plant.violations() == []


def test_a_digest_differs_where_one_value_does(make_plant: Callable[[], Plant], expected: str) -> None:
    plant = make_plant()
    newest = {"key": "k0", "name": "pump", "value": 5, "ts": "2025-01-15T08:00:09Z"}
    plant.run(b"\n".join(map(orjson.dumps, [*many_rows(), newest])))
    assert plant.digest() != expected


def test_a_digest_differs_where_one_rejected_record_does(
    make_plant: Callable[[], Plant], expected: str
) -> None:
    plant = make_plant()
    plant.run(b"\n".join(map(orjson.dumps, [*many_rows(), {"key": "another"}])))
    assert plant.digest() != expected


TIED = [{"key": "a", "name": f"n{n}", "value": n, "ts": "2025-01-15T08:00:00Z"} for n in range(9)]


@pytest.mark.parametrize("batch_records", [1, 3, 9])
@pytest.mark.parametrize("processed_in_reverse", [False, True])
def test_of_equal_times_the_later_line_and_the_later_delivery_win(
    make_plant: Callable[[], Plant], batch_records: int, processed_in_reverse: bool
) -> None:
    plant = make_plant()
    files = [TIED, TIED[4:7], TIED[:3]]  # the last line of the last one is n2
    messages = [
        message
        for number, rows in enumerate(files)
        for message in plant.messages(
            plant.file(b"\n".join(map(orjson.dumps, rows)), f"{number}.ndjson"), batch_records=batch_records
        )
    ]
    with redis_of(plant):
        for message in reversed(messages) if processed_in_reverse else messages:
            take(message)
            jobs.load_staged()
    assert [each["name"] for each in plant.rows()] == ["n2"]
    assert plant.violations() == []


def test_with_ties_by_hash_one_record_wins_in_any_order_of_deliveries(
    make_plant: Callable[[], Plant],
) -> None:
    winners = set()
    for seed in range(3):
        plant = make_plant()
        plant.configure(BY_HASH)
        with redis_of(plant):
            for each in random.Random(seed).sample(TIED, len(TIED)):
                [message] = plant.messages(plant.file(orjson.dumps(each), f"{each['name']}.ndjson"))
                take(message)
                jobs.load_staged()
        winners.add(plant.rows()[0]["name"])
        assert plant.violations() == []
    plant = make_plant()
    plant.configure(BY_HASH)
    plant.run(b"\n".join(map(orjson.dumps, TIED)), batch_records=2)
    assert winners == {plant.rows()[0]["name"]}


# What hypothesis makes of it

LETTERS = st.characters(exclude_categories=["C"])  # surrogates are in C; naming a codec takes it seconds
TEXTS = st.text(LETTERS, min_size=1, max_size=6).filter(lambda text: not text.isspace())
VALID = st.fixed_dictionaries(
    {
        "key": st.sampled_from(["a", "b", "ключ"]),
        "name": TEXTS,
        "value": st.sampled_from([0, -3, 2.5, 1e300]) | st.integers(-(2**53), 2**53),
        "ts": st.sampled_from(
            ["2025-01-15T08:00:00Z", "2025-01-15T09:00:00+01:00", "2025-01-15 08:00:00.000001", "1999-12-31"]
        ),
    },
    optional={"note": TEXTS},
)
# Faults that every format can write.
BREAK = st.sampled_from(
    [("key", None), ("key", " "), ("name", None), ("name", ""), ("value", "cloudy"), ("value", None),
     ("value", "1e400"), ("ts", None), ("ts", "never"), ("ts", "2025-02-30"), ("ts", "2999-01-01")]
)  # fmt: skip


def broken(each: dict[str, Any], fault: tuple[str, Any]) -> dict[str, Any]:
    field, value = fault
    rest = {name: stored for name, stored in each.items() if name != field}
    return rest if value is None else rest | {field: value}


RECORDS = st.lists(VALID | st.builds(broken, VALID, BREAK), min_size=1, max_size=12)


@contextmanager
def scratch(plant: Plant, number: int, empty: EmptyStore) -> Any:
    with opened(plant.home / f"run-{number}", empty()) as made:
        yield made


def messages_of(plant: Plant, rows: Rows, number: int, data: st.DataObject) -> list[Message]:
    """A delivery, in one of the ways it may be written and cut; mostly in one cut, and at times in two."""
    name, write, path = WRITTEN[data.draw(st.sampled_from(sorted(WRITTEN)), "form")]
    file = plant.file(write(rows), f"{number}-{name}")
    sizes = data.draw(st.lists(st.sampled_from([1, 2, 7, 5000]), min_size=1, max_size=2), "batch_records")
    return [message for size in sizes for message in plant.messages(file, batch_records=size, records=path)]


def process(plant: Plant, messages: list[Message], data: st.DataObject) -> None:
    """Processes and loads them in one of the ways they may come."""
    twice = data.draw(st.lists(st.sampled_from(messages), max_size=4), "redelivered")
    for message in data.draw(st.permutations(messages + twice), "order of messages"):
        take(message)
        if data.draw(st.booleans(), "load between"):
            chunk = data.draw(st.sampled_from([1, 2, 100]), "chunk")
            loader.load(plant.engine, plant.settings.model_copy(update={"load_chunk_records": chunk}))
            assert plant.violations() == []
    jobs.load_staged()
    assert plant.violations() == []
    assert plant.report()["pending"] == 0


def state(plant: Plant) -> tuple[Any, ...]:
    """All that is to be the same."""
    assert plant.mirrored() == {letter.id for letter in plant.letters()}
    rows = [(r["key"], r["name"], r["value"], r["ts"], r["extra"]) for r in plant.rows()]
    return plant.digest(), rows, {letter.reason for letter in plant.letters()}


@settings(max_examples=examples(5))
@given(sent=st.lists(RECORDS, min_size=1, max_size=3), data=st.data())
def test_state_is_a_function_of_the_deliveries_and_their_order(
    plant: Plant, empty_store: EmptyStore, sent: list[list[dict[str, Any]]], data: st.DataObject
) -> None:
    states = []
    for number in range(2):
        with scratch(plant, number, empty_store) as made, redis_of(made):
            messages = [
                message
                for position, rows in enumerate(sent)
                for message in messages_of(made, rows, position, data)
            ]
            process(made, messages, data)
            states.append(state(made))
    assert states[0] == states[1]


@settings(max_examples=examples(4))
@given(rows=RECORDS, data=st.data())
def test_with_ties_by_hash_state_is_a_function_of_the_set_of_records_sent(
    plant: Plant, empty_store: EmptyStore, rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    states = []
    for number in range(2):
        with scratch(plant, number, empty_store) as made, redis_of(made):
            made.configure(BY_HASH)
            shuffled = data.draw(st.permutations(rows), "order of records")
            half = data.draw(st.integers(0, len(rows)), "records in the first delivery")
            pieces = [piece for piece in (shuffled[:half], shuffled[half:]) if piece]
            messages = [
                message
                for position, piece in enumerate(pieces)
                for message in messages_of(made, piece, position, data)
            ]
            process(made, messages, data)
            states.append(state(made))
    assert states[0] == states[1]
