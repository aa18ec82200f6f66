"""The tables of dead letters: letters, their groups, what changed them, and the actions over many of them.

open --claim--> replaying --accept--> resolved --reopen--> open
replaying --reject again, withdraw--> open (parked, where it was replayed too often)
open <--park, unpark--> parked        open, parked --discard--> discarded --undo--> open
open, parked --arrive--> resolved --reject--> open
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)

from store.database.schema import Name, Serial, metadata

OPEN, REPLAYING, PARKED, RESOLVED, DISCARDED = STATES = (
    "open",
    "replaying",
    "parked",
    "resolved",
    "discarded",
)
COUNTED = (OPEN, REPLAYING, PARKED)  # the digest has these
PRUNED = "pruned"  # no state: the letter is gone, and its group counts it
OUTCOMES = ("resolved", "rejected", "refused", "withdrawn")  # rejected: again; refused: it cannot be sent
VERBS = ("replay", "discard", "park", "unpark", "undo", "prune")

UNPUBLISHED = text("status = 'open' AND published_at IS NULL")
UNREMOVED = text("status <> 'open' AND published_at IS NOT NULL")


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


# Letters of one source, contract, and the same faults: fields, rules and shapes of the values.
letter_groups = Table(
    "letter_groups",
    metadata,
    Column("id", Name, primary_key=True),  # hash of source, contract and faults
    Column("source", Name, nullable=False),
    Column("fingerprint", Text, nullable=False),  # of the contract and mapping that rejected them
    Column("reason", Text, nullable=False),  # the primary one
    Column(
        "faults", Text, nullable=False
    ),  # JSON: [{reason, field, rule, message, shape}], of its first letter
    *(Column(state, BigInteger, nullable=False, server_default="0") for state in STATES),
    Column("pruned", BigInteger, nullable=False, server_default="0"),
    Column("occurrences", BigInteger, nullable=False),
    Column("first_seen_at", Text, nullable=False),
    Column("last_seen_at", Text, nullable=False),
    Column("file", Text, nullable=False),  # it began with this record
    Column("line", BigInteger, nullable=False),
    Column("sample", Name, nullable=False),  # id of its first letter
    Index("letter_groups_by_source", "source", "reason"),
)

actions = Table(
    "actions",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("token", Name, nullable=False, unique=True),  # the content of its deliveries, 32 hex digits
    Column("verb", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("filter", Text, nullable=False),  # JSON: how its letters were chosen
    Column("edit", Text),  # JSON: what a replay changes; null: nothing
    Column("proof", Text),  # JSON: of a replay: what was found that it would do, and the digest of that
    Column(
        "terms", Text
    ),  # JSON: of a replay: how many of the letters, how quickly, and when it stops itself
    Column("why", Text, nullable=False),
    Column("by", Text, nullable=False),  # user@host
    Column("letters", BigInteger, nullable=False),
    # Of a replay: how many of its letters have which outcome, in the transactions that give it to them.
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in OUTCOMES),
    Column("started_at", Text, nullable=False),
    Column("finished_at", Text),
    Column("unpark_at", Text),  # of a park: when its letters are opened again; null: never, or it is done
    CheckConstraint(_one_of("verb", VERBS), name="actions_verb"),
    # running -> finished: each of its letters has an outcome; running -> stopped, by hand or by its terms
    CheckConstraint(_one_of("status", ("running", "finished", "stopped")), name="actions_status"),
    sqlite_autoincrement=True,
)

# What a replay would do, judged by `--dry-run`: a permit to send these letters, for some minutes.
proofs = Table(
    "proofs",
    metadata,
    Column("digest", Name, primary_key=True),  # of all below but the time
    Column("made_at", Text, nullable=False),  # for the last time
    Column("filter", Text, nullable=False),  # JSON: how the letters were chosen
    Column("first", BigInteger),  # only so many of them; null: all
    Column("edit", Text),  # JSON: with raw names
    Column("fingerprints", Text, nullable=False),  # JSON: source -> contract and mapping
    Column("counts", Text, nullable=False),  # JSON: what would become of how many
    Column("token", Name, nullable=False),  # of its letters, in `proof_letters`
)

# The letters of a proof, thousands a row; also of one that is not stored, until its action has begun.
proof_letters = Table(
    "proof_letters",
    metadata,
    Column("token", Name, primary_key=True),
    Column("page", BigInteger, primary_key=True),  # from 0
    Column("made_at", Text, nullable=False),
    Column("letters", LargeBinary, nullable=False),  # their ids, 16 bytes each, in the order of sending
)

# The letters of an action, as they were when it was made.
action_letters = Table(
    "action_letters",
    metadata,
    Column("action_seq", Serial, ForeignKey("actions.seq"), primary_key=True, autoincrement=False),
    Column("letter_id", Name, primary_key=True),
    Column("position", BigInteger, nullable=False),  # from 0: by source, format, file and line
    Column("before", Text, nullable=False),  # its state until then
    Column("batch_id", Name),  # of a replay: the batch that it is sent in
    # Of a replay: see OUTCOMES; of other verbs: done. Null: not yet
    Column("outcome", Text),
    CheckConstraint(
        _one_of("outcome", (*OUTCOMES, "done")),
        name="action_letters_outcome",
    ),
    Index("action_letters_by_position", "action_seq", "position", unique=True),
    sqlite_with_rowid=False,
)

# What a replay of a file (`--from`) sends of each letter.
action_payloads = Table(
    "action_payloads",
    metadata,
    Column("action_seq", Serial, ForeignKey("actions.seq"), primary_key=True, autoincrement=False),
    Column("letter_id", Name, primary_key=True),
    Column("payload", Text, nullable=False),  # JSON
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("id", Name, primary_key=True),  # hash of source and payload: the same payload is the same letter
    Column("source", Name, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False),  # as the errors: those of the first rejection, for ever
    Column("errors", Text, nullable=False),  # JSON: [{reason, field, rule, message, shape}]
    Column("group_id", Name, nullable=False),
    Column("payload", Text, nullable=False),
    Column("encoding", Text, nullable=False),
    Column("size", BigInteger, nullable=False),  # of the whole record, in bytes
    Column("payload_digest", Text),  # of the whole record, where only its head is kept
    Column("format", Text, nullable=False),
    Column("header", Text),  # JSON: the CSV file's columns and dialect
    Column("content", Name, nullable=False),  # what it says whatever the format: see `digest`
    Column("record_key", Name),
    Column("file", Text, nullable=False),
    Column("line", BigInteger, nullable=False),
    Column("batch_seq", Serial, ForeignKey("batches.seq"), nullable=False),  # the batch that saw it last
    Column("version", BigInteger, nullable=False),  # the greatest of its occurrences: see `Versions`
    Column("event_id", BigInteger, nullable=False),  # its latest `reject` entry
    Column("action_seq", Serial, ForeignKey("actions.seq")),  # the action that it is in
    Column("occurrences", Integer, nullable=False),
    Column("replays", Integer, nullable=False),
    Column("first_seen_at", Text, nullable=False),
    Column("last_seen_at", Text, nullable=False),
    Column("resolved_at", Text),
    Column("published_at", Text),  # when the Redis DLQ got it; null: not there
    CheckConstraint(_one_of("status", STATES), name="dead_letters_status"),
    # A letter is in an action while it is being replayed, and then alone.
    CheckConstraint("(status = 'replaying') = (action_seq IS NOT NULL)", name="dead_letters_action"),
    CheckConstraint("encoding IN ('utf-8', 'base64')", name="dead_letters_encoding"),
    CheckConstraint("format IN ('json', 'csv')", name="dead_letters_format"),
    Index("dead_letters_by_age", "status", "first_seen_at", "id"),
    Index("dead_letters_by_group", "group_id", "status", "first_seen_at", "id"),  # see `paging`
    # The outbox: what the Redis DLQ is to get, and what it is to lose.
    *(
        Index(f"dead_letters_{name}", "status", "published_at", sqlite_where=where)
        for name, where in (("unpublished", UNPUBLISHED), ("unremoved", UNREMOVED))
    ),
)

# What is left of a letter that was pruned: lineage and the account of its delivery speak of it.
pruned_letters = Table(
    "pruned_letters",
    metadata,
    Column("id", Name, primary_key=True),
    Column("group_id", Name, primary_key=True),
    Column("status", Text, nullable=False),  # its last state
    Column("why", Text),  # of its discard
    Column("times", BigInteger, nullable=False),  # the same payload may come again, and be pruned again
    Column("occurrences", BigInteger, nullable=False),
    Column("pruned_at", Text, nullable=False),
    CheckConstraint(_one_of("status", (RESOLVED, DISCARDED)), name="pruned_letters_status"),
    sqlite_with_rowid=False,
)

# Each change of a letter's state since its first rejection.
letter_events = Table(
    "letter_events",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("letter_id", Name, nullable=False),
    Column("at", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("action_seq", Serial, ForeignKey("actions.seq")),  # who and why
    Column("batch_seq", Serial, ForeignKey("batches.seq")),  # the batch that accepted or rejected it
    Column("errors", Text),  # JSON: of this attempt
    Column("payload", Text),  # as it was sent, where that was edited
    Column(
        "record_id", BigInteger
    ),  # of the record that superseded it, or whose payload was accepted: see `staged_id`
    Index("letter_events_by_letter", "letter_id", "seq"),
    Index("letter_events_by_record", "record_id", sqlite_where=text("record_id IS NOT NULL")),
)
