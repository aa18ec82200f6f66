"""A record may be anything: each bad one becomes a dead letter with its reason, file, line and payload."""

from __future__ import annotations

import base64
import hashlib

import orjson
import pytest

from store.errors import InputError

from ..plant import Plant, ndjson, row

GOOD = orjson.dumps(row("good"))


def with_value(literal: bytes) -> bytes:
    return b'{"key":"a","name":"n","value":%s,"ts":"2025-01-15T08:00:00Z"}' % literal


BAD_LINES = {
    "not JSON": (b"nonsense", "malformed_json"),
    "half an object": (b'{"key": "a"', "malformed_json"),
    "two objects": (b"{} {}", "malformed_json"),
    "a BOM within the file": (b"\xef\xbb\xbf{}", "malformed_json"),
    "a raw NUL": (b'{"key":"a\0"}', "malformed_json"),
    "an array": (b"[1, 2]", "not_an_object"),
    "a text": (b'"a"', "not_an_object"),
    "a number": (b"1", "not_an_object"),
    "null": (b"null", "not_an_object"),
    "invalid UTF-8": (b'{"key":"\xff"}', "undecodable"),
    "a field twice": (b'{"key":"a","key":"a"}', "duplicate_field"),
    "a field twice, spaced": (b'{"key" :"a","key"\t:"b"}', "duplicate_field"),
    "a field twice within": (with_value(b'1,"x":{"y":1,"y":1}'), "duplicate_field"),
    "10,000 brackets": (b"[" * 10_000, "too_deep"),
    "10,000 brackets in a field": (with_value(b'1,"x":%s%s' % (b"[" * 10_000, b"]" * 10_000)), "too_deep"),
    "500 brackets in a field": (with_value(b'1,"x":%s%s' % (b"[" * 500, b"]" * 500)), "too_deep"),
    "65 deep": (with_value(b'1,"x":%s%s' % (b"[" * 64, b"]" * 64)), "too_deep"),
    "no key": (b'{"name":"n","value":1,"ts":"2025-01-15T08:00:00Z"}', "missing_key"),
    "a null key": (orjson.dumps(row(key=None)), "missing_key"),
    "a blank key": (orjson.dumps(row(key=" \t")), "missing_key"),
    "an empty name": (orjson.dumps(row(name="")), "missing_name"),
    "a null value": (with_value(b"null"), "missing_value"),
    "a null ts": (orjson.dumps(row(ts=None)), "missing_timestamp"),
    "a blank ts": (orjson.dumps(row(ts=" ")), "missing_timestamp"),
    "a number for a key": (orjson.dumps(row(key=5)), "invalid_key"),
    "a list for a name": (orjson.dumps(row(name=["n"])), "invalid_name"),
    "text for a number": (with_value(b'"cloudy"'), "invalid_value"),
    "an object for a number": (with_value(b"{}"), "invalid_value"),
    "true for a number": (with_value(b"true"), "invalid_value"),
    "NaN": (with_value(b"NaN"), "invalid_value"),
    "NaN as text": (with_value(b'"nan"'), "invalid_value"),
    "an infinity": (with_value(b"-Infinity"), "invalid_value"),
    "1e400": (with_value(b"1e400"), "invalid_value"),
    "an integer of 5,000 digits": (with_value(b"9" * 5000), "invalid_value"),
    "2 ** 63": (with_value(b"9223372036854775808"), "invalid_value"),
    "-2 ** 63 - 1": (with_value(b"-9223372036854775809"), "invalid_value"),
    "NaN beyond the contract": (with_value(b'1,"x":NaN'), "invalid_x"),
    "2 ** 64 deep beyond the contract": (with_value(b'1,"x":[{"y":18446744073709551616}]'), "invalid_x"),
    "an escaped NUL": (b'{"key":"a\\u0000","name":"n","value":1,"ts":"2025-01-15T08:00:00Z"}', "invalid_key"),
    "an escaped NUL in a name": (orjson.dumps(row(name="\0")), "invalid_name"),
    "a lone surrogate": (
        b'{"key":"a","name":"\\ud800","value":1,"ts":"2025-01-15T08:00:00Z"}',
        "invalid_name",
    ),
    "a lone surrogate beyond": (with_value(b'1,"x":"\\udfff"'), "invalid_x"),
    "a lone surrogate as a field": (with_value(b'1,"\\ud800":1'), "invalid_\\ud800"),
    "a NUL as a field": (with_value(b'1,"a\\u0000b":1'), "invalid_a\\x00b"),
    "a lone surrogate twice": (with_value(b'1,"\\ud800":1,"\\ud800":1'), "duplicate_field"),
    "a day that is none": (orjson.dumps(row(ts="2025-02-30T00:00:00Z")), "invalid_timestamp"),
    "an epoch number": (orjson.dumps(row(ts=1736942400)), "invalid_timestamp"),
    "an epoch number as text": (orjson.dumps(row(ts="1736942400")), "invalid_timestamp"),
    "before the year 1": (orjson.dumps(row(ts="0001-01-01T00:00:00+01:00")), "invalid_timestamp"),
    "the year 2099": (orjson.dumps(row(ts="2099-01-01T00:00:00Z")), "future_timestamp"),
}


@pytest.mark.parametrize("cut", [3, 1000], ids=["each in a batch of its own", "all in one batch"])
def test_a_bad_line_is_a_dead_letter_byte_for_byte_and_the_lines_around_it_are_loaded(
    plant: Plant, cut: int
) -> None:
    good = [[f"{number:03} {where}" for where in ("before", "after")] for number in range(len(BAD_LINES))]
    lines = [
        b"%s\n\n%s\n%s\n" % (orjson.dumps(row(before)), bad, orjson.dumps(row(after)))
        for (before, after), (bad, _) in zip(good, BAD_LINES.values(), strict=True)
    ]
    path = plant.file(b"".join(lines))
    sent = plant.run(path, batch_records=cut)
    assert len(sent.ids) == -(-3 * len(BAD_LINES) // cut)
    letters = {letter.line: letter for letter in plant.letters()}
    assert len(letters) == len(BAD_LINES)
    for number, (name, (bad, reason)) in enumerate(BAD_LINES.items()):
        letter = letters[4 * number + 3]
        assert letter.reason == reason, name
        assert (letter.raw, letter.size, letter.payload_digest) == (bad, len(bad), None), name
        assert letter.file == str(path)
        assert letter.errors[0]["reason"] == reason, name
    assert [each["key"] for each in plant.rows()] == sorted(key for keys in good for key in keys)
    assert plant.violations() == []


def test_what_is_no_text_is_stored_as_base64(plant: Plant) -> None:
    plant.run(b'{"key":"\xff"}\n{"key":"\0"}\n{"key":"\xc3\xa9"}\n')
    letters = sorted(plant.letters(), key=lambda letter: letter.line)
    assert [letter.encoding for letter in letters] == ["base64", "base64", "utf-8"]
    assert base64.b64decode(letters[0].payload) == b'{"key":"\xff"}'
    assert letters[2].payload == '{"key":"é"}'


def test_a_bom_at_the_start_of_a_file_is_no_part_of_the_record(plant: Plant) -> None:
    plant.run(b"\xef\xbb\xbf" + GOOD)
    assert [each["key"] for each in plant.rows()] == ["good"]


def test_a_record_beyond_the_limit_is_stored_as_its_head_size_and_digest(plant: Plant) -> None:
    big = orjson.dumps(row(name="n" * 20_000))
    plant.run(GOOD + b"\n" + big + b"\n", max_record_bytes=10_000)
    (letter,) = plant.letters()
    assert (letter.reason, letter.line) == ("too_large", 2)
    assert letter.raw == big[:4096]
    assert letter.size == len(big)
    assert letter.payload_digest == hashlib.blake2b(big, digest_size=16).hexdigest()
    assert len(plant.rows()) == 1


def test_two_oversize_records_with_one_head_are_two_letters(plant: Plant) -> None:
    plant.run(ndjson(row(name="n" * 20_000), row(name="n" * 20_001)), max_record_bytes=10_000)
    assert [letter.reason for letter in plant.letters()] == ["too_large", "too_large"]


def test_a_letter_keeps_all_errors_of_its_record_in_the_order_of_the_contract(plant: Plant) -> None:
    plant.run(ndjson({"ts": "never", "value": "x", "key": " "}))
    (letter,) = plant.letters()
    assert letter.reason == "missing_key"
    assert [(each["reason"], each["field"]) for each in letter.errors] == [
        ("missing_key", "key"),
        ("invalid_timestamp", "ts"),
        ("missing_name", "name"),
        ("invalid_value", "value"),
    ]


def test_an_error_names_the_rule_and_not_the_value(plant: Plant) -> None:
    plant.run(ndjson(row(value="secret"), row("b", ts="secret"), row("c", name=["secret"])))
    assert plant.report()["rejected"] == 3
    assert all("secret" not in str(letter.errors) for letter in plant.letters())


# CSV

HEADER = b"key,name,value,ts\n"
BAD_ROWS = {
    "too short": (b"a,n,1", "malformed_csv"),
    "too long": (b"a,n,1,2025-01-15T08:00:00Z,more", "malformed_csv"),
    "an unterminated quote": (b'a,"n,1,2025-01-15T08:00:00Z', "malformed_csv"),
    "text after a quote": (b'a,"n"x,1,2025-01-15T08:00:00Z', "malformed_csv"),
    "an empty cell": (b"a,,1,2025-01-15T08:00:00Z", "missing_name"),
    "a blank cell": (b"a,n,1, ", "missing_timestamp"),
    "text for a number": (b"a,n,x,2025-01-15T08:00:00Z", "invalid_value"),
    "NaN": (b"a,n,nan,2025-01-15T08:00:00Z", "invalid_value"),
    "1e400": (b"a,n,1e400,2025-01-15T08:00:00Z", "invalid_value"),
    "a NUL": (b"a,n\0,1,2025-01-15T08:00:00Z", "invalid_name"),
    "invalid UTF-8": (b"a,\xff,1,2025-01-15T08:00:00Z", "undecodable"),
    "true for a number": (b"a,n,true,2025-01-15T08:00:00Z", "invalid_value"),
    "the year 2099": (b"a,n,1,2099-01-01", "future_timestamp"),
}


def test_a_bad_row_is_a_dead_letter_byte_for_byte_and_the_rows_around_it_are_loaded(plant: Plant) -> None:
    good = b"good %s,n,1,2025-01-15T08:00:00Z\n"
    for name, (bad, _) in BAD_ROWS.items():  # files of their own: an open quote takes the rest of its file
        rows = good % name.encode() + bad + b"\n" + good % b"%s too" % name.encode()
        plant.send(HEADER + rows, f"{name}.csv")
    plant.work()
    plant.load()
    letters = {letter.file: letter for letter in plant.letters()}
    assert len(letters) == len(BAD_ROWS)
    for name, (bad, reason) in BAD_ROWS.items():
        letter = letters[str(plant.home / f"{name}.csv")]
        assert (letter.reason, letter.raw, letter.line) == (reason, bad, 3), name
        assert (letter.format, letter.header) == (
            "csv",
            {
                "columns": ["key", "name", "value", "ts"],
                "delimiter": ",",
                "quotechar": '"',
                "escapechar": None,
                "trim": False,
                "encoding": "utf-8",
                "skip_rows": 0,
                "comment": None,
                "decimal": ".",
                "thousands": None,
                "null_values": [],
            },
        )
    loaded = [f"good {name}{which}" for name in BAD_ROWS for which in ("", " too")]
    assert [each["key"] for each in plant.rows()] == sorted(loaded)
    assert plant.violations() == []


def test_a_quoted_cell_may_hold_line_breaks_quotes_and_delimiters(plant: Plant) -> None:
    plant.run(HEADER + b'a,"one\ntwo ""three"", four",1,2025-01-15T08:00:00Z\n', "rows.csv")
    assert [each["name"] for each in plant.rows()] == ['one\ntwo "three", four']


def test_a_column_that_stands_twice_is_one_error_of_the_file(plant: Plant) -> None:
    """Refuses a dead letter for each row."""
    with pytest.raises(InputError, match=r"names columns more than once: 'key' \(2 times\)"):
        plant.send(b"key,key,value,ts\na,b,1,2025-01-15\n", "rows.csv")
    assert plant.rows("deliveries", order="seq") == []


def test_the_delimiter_travels_with_the_rows(plant: Plant) -> None:
    plant.run(b"key\tname\tvalue\tts\na\tn\t1\t2025-01-15\nb\tn\n", "rows.tsv")
    assert [each["key"] for each in plant.rows()] == ["a"]
    assert plant.letters()[0].header["delimiter"] == "\t"


def test_a_record_that_its_sources_expression_does_not_work_on_is_a_dead_letter(plant: Plant) -> None:
    plant.configure("[sources.s]\nfields.name = \"join('-', tags)\"\n")
    plant.run(ndjson(row(tags=["x", "y"]), row("b", tags=5)), source="s")
    assert plant.reasons() == ["invalid_name"]
    assert [each["name"] for each in plant.rows()] == ["x-y"]


def test_a_number_computed_by_an_expression_that_no_column_can_hold_is_a_dead_letter(plant: Plant) -> None:
    plant.configure('[sources.s]\nfields.more = "to_number(big)"\n')
    plant.run(ndjson(row(big="5"), row("b", big="9" * 30), row("c", big="inf")), source="s")
    assert plant.reasons() == ["invalid_more", "invalid_more"]
