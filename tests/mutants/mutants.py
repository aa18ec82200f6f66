"""The mechanisms that can be taken out, and the edits that do it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """One piece of source and what takes its place."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A mechanism, and the edits that take it out."""

    name: str
    edits: tuple[Edit, ...]


def mutant(name: str, *edits: tuple[str, str, str]) -> Mutant:
    return Mutant(name, tuple(Edit(*edit) for edit in edits))


LOOK = (
    "worker/batch/receive.py",
    "processed = bool(batches.known(connection, [message.id]))",
    "processed = False",
)
UPSERT = (
    "store/tables/batches.py",
    '.on_conflict_do_nothing(index_elements=["id"])',
    '.on_conflict_do_update(index_elements=["id"], set_={"kind": batch.kind})',
)
MUTANTS = (
    mutant("inbox: a second delivery is not looked for", LOOK),
    mutant("inbox: a second row of a batch is no conflict", UPSERT),
    mutant("inbox: taken out altogether", LOOK, UPSERT),
    mutant(
        "inbox: the producer does not ask what was processed",
        ("worker/queue/send.py", "known = batches.known(connection, ids)", "known = set()"),
    ),
    mutant(
        "outbox: the loader publishes nothing",
        (
            "worker/jobs.py",
            "        mirror.flush_outbox(here.redis(), engine)\n        try:",
            "        try:",
        ),
    ),
    mutant(
        "outbox: a batch publishes nothing",
        (
            "worker/jobs.py",
            "        mirror.flush_outbox(redis, engine)\n    _wake",
            "    _wake",
        ),
        (
            "worker/jobs.py",
            "                mirror.publish_new(redis, engine, stored.letters)\n",
            "",
        ),
    ),
    mutant(
        "outbox: a batch publishes new letters alone",
        (
            "worker/jobs.py",
            "        mirror.flush_outbox(redis, engine)\n    _wake",
            "    _wake",
        ),
    ),
    mutant(
        "outbox: a new letter is marked before it is published",
        (
            "worker/dead_letters/mirror.py",
            '    reach("outbox.found")\n    for start',
            '    reach("outbox.found")\n    _mark(engine, rejected)\n    for start',
        ),
    ),
    mutant(
        "outbox: a letter is marked before it is published",
        (
            "worker/dead_letters/mirror.py",
            '        reach("outbox.found")\n',
            '        reach("outbox.found")\n'
            "        with database.transaction(engine) as connection:\n"
            "            events = [x.event_id for x in new]\n"
            "            dead_letters.mark_published(connection, [x.id for x in new], events, timestamps.now_text())\n"
            "            dead_letters.mark_removed(connection, gone)\n",
        ),
    ),
    mutant(
        "last writer wins: the merge's WHERE",
        (
            "store/tables/target.py",
            "        where=tuple_(new.ts, new.content_hash) > tuple_(target.c.ts, target.c.content_hash),\n",
            "",
        ),
    ),
    mutant(
        "last writer wins: the best of a chunk",
        (
            "store/load/merge.py",
            'where(beaten).values({"_outcome": 3})',
            'where(beaten).values({"_outcome": 1})',
        ),
    ),
    mutant(
        "last writer wins: what the target holds is not asked, nor the WHERE",
        (
            "store/tables/target.py",
            "        where=tuple_(new.ts, new.content_hash) > tuple_(target.c.ts, target.c.content_hash),\n",
            "",
        ),
        (
            "store/load/merge.py",
            "select(case((newer, 2), else_=3))",
            "select(case((newer, 2), else_=2))",
        ),
    ),
    mutant(
        "last writer wins: the hash does not break a tie",
        (
            "store/tables/target.py",
            "where=tuple_(new.ts, new.content_hash) > tuple_(target.c.ts, target.c.content_hash)",
            "where=new.ts >= target.c.ts",
        ),
        (
            "store/load/merge.py",
            "newer = tuple_(chunk.c.ts, chunk.c.content_hash) > tuple_(held.c.ts, held.c.content_hash)",
            "newer = chunk.c.ts >= held.c.ts",
        ),
    ),
    mutant(
        "dedupe: the target is not asked",
        (
            "worker/batch/compared.py",
            "target.current(connection, message.source, keys) if share else {}",
            "{}",
        ),
    ),
    mutant(
        "dedupe: staging is not asked",
        ("worker/batch/compared.py", "staging.contents(connection, message.source, keys)", "{}"),
    ),
    mutant(
        "dedupe: what other batches stage meanwhile is not asked",
        ("worker/batch/compared.py", "            if met:\n", "            if False:\n"),
    ),
    mutant(
        "dedupe: what was known is not looked up again after a load",
        ("worker/batch/compared.py", "keys = sorted(self.known)", "keys: list[str] = []"),
    ),
    mutant(
        "dedupe: what was staged meanwhile and loaded too is not noticed",
        ("worker/batch/compared.py", " or since != staging.count_since(connection, self.last_batch)", ""),
    ),
    mutant(
        "dedupe: what is loaded meanwhile is not asked",
        ("worker/batch/compared.py", "return load_runs.progress(connection) != self.loaded", "return False"),
    ),
    mutant(
        "plain records: a repeated field is not noticed",
        ("worker/judge/fast_path.py", "if record.count('\":') != len(fields):", "if False:"),
    ),
    mutant(
        "fencing: the lease is not renewed",
        (
            "worker/loader.py",
            "        leases.renew(connection, LOCK, holder, settings.load_lease_seconds)\n",
            "",
        ),
    ),
    mutant(
        "fencing: two loaders at once",
        ("store/tables/leases.py", "    if row and row", "    if False and row"),
    ),
    mutant(
        "allow-list: any function is run",
        ("worker/queue/rq_internals.py", "if name not in ALLOWED or self.instance:", "if self.instance:"),
    ),
    mutant(
        "allow-list: callbacks are run",
        (
            "worker/queue/rq_internals.py",
            'b"success_callback_name failure_callback_name stopped_callback_name webhooks meta',
            'b"webhooks meta',
        ),
    ),
    mutant(
        "allow-list: another serializer's fields are read",
        ("worker/queue/rq_internals.py", "if name not in NEVER_OURS", "if name"),
    ),
    mutant(
        "stuck worker: it goes on",
        ("worker/queue/endings.py", "if len(self.jobs) >= ENDINGS:", "if not self.jobs:"),
    ),
    mutant(
        "stuck worker: one job that always raises stops it",
        (
            "worker/queue/endings.py",
            "if job in self.jobs and not way.startswith(DEATH):",
            "if not self.jobs:",
        ),
    ),
    mutant(
        "stuck worker: who is killed by records counts",
        ("worker/rq_worker.py", "if way.startswith(DEATH) and poison", "if not way and poison"),
    ),
    mutant(
        "watermark: it moves backwards",
        (
            "store/tables/watermarks.py",
            "    if current is not None and move.value <= current:\n        return False\n",
            "",
        ),
    ),
    mutant(
        "watermark: a corrupt one is taken",
        (
            "worker/loader.py",
            "watermarks.read_all(connection, settings.max_future_skew)",
            "watermarks.stored(connection)",
        ),
    ),
    mutant(
        "transaction: staging is committed before the batch's row counts",
        (
            "worker/batch/receive.py",
            '    reach("batch.staged")\n',
            '    reach("batch.staged")\n    connection.commit()\n',
        ),
    ),
    mutant(
        "system error: the batch fails instead of going back to the queue",
        (
            "worker/jobs.py",
            "        return Retry(max=FOR_EVER, interval=here.worker.retry_intervals_seconds)",
            "        raise",
        ),
    ),
    mutant(
        "poison: a killer is never suspected",
        (
            "worker/batch/poison.py",
            "    return deaths >= (TOLERATED_PART if is_part else TOLERATED)",
            "    return False",
        ),
    ),
    mutant(
        "poison: a split is not remembered",
        ("worker/jobs.py", "    receive.store_split(engine, message)\n", ""),
    ),
    mutant(
        "poison: deaths are not counted",
        (
            "worker/batch/poison.py",
            "        return int(pipeline.execute()[0]) - 1",
            "        pipeline.execute()\n        return 0",
        ),
    ),
    mutant(
        "dead letters: the same payload makes a second letter",
        (
            "worker/batch/receive.py",
            "parts = [message.source, message.format, message.header, payload, digest]",
            "parts = [message.source, message.format, message.header, payload, digest, message.id]",
        ),
    ),
    mutant(
        "message: another version is read as this one",
        ("worker/queue/message.py", "        if version != VERSION:", "        if False:"),
    ),
    mutant(
        "ids: the fingerprint of contract and mapping is left out",
        (
            "producer/files/batches.py",
            "json.dumps([source, fingerprint, wire_format, header])",
            "json.dumps([source, wire_format, header])",
        ),
    ),
)
