"""The mechanisms that can be taken out, and the edits that do it."""

from __future__ import annotations

from .checks import CHECKS
from .edits import mutant
from .files import FILES
from .hosts import HOSTS
from .letters import LETTERS
from .versions import VERSIONS

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
            "            mirror.flush_outbox(redis, engine)\n        try:\n",
            "            pass\n        try:\n",
        ),
    ),
    mutant(
        "outbox: a batch publishes nothing",
        (
            "worker/jobs.py",
            "            mirror.flush_outbox(redis, engine)\n    here.load",
            "            pass\n    here.load",
        ),
        (
            "worker/jobs.py",
            "                    mirror.publish_new(redis, engine, stored.letters)\n",
            "                    pass\n",
        ),
    ),
    mutant(
        "outbox: a batch publishes new letters alone",
        (
            "worker/jobs.py",
            "            mirror.flush_outbox(redis, engine)\n    here.load",
            "            pass\n    here.load",
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
            "            dead_letters.record_published(connection, [x.id for x in new], events, '2025')\n"
            "            dead_letters.record_removed(connection, gone)\n",
        ),
    ),
    *VERSIONS,
    mutant(
        "quick way: a repeated field is not noticed",
        (
            "worker/judge/columnwise/tables.py",
            "if not is_flat and orjson.dumps(objects).count(b'\":') != names:",
            "if False:",
        ),
    ),
    mutant(
        "numbers: the quick way takes those of Python",
        ("worker/judge/columnwise/fields.py", "any_odd_number(values) or", "False or"),
    ),
    mutant(
        "quick way: text that no column can hold is accepted",
        (
            "worker/judge/columnwise/contents.py",
            "return {row for row, text in enumerate(column) if bad_text(text)}",
            "return set()",
        ),
    ),
    mutant(
        "quick way: commas in text are taken for the end of a value",
        (
            "worker/judge/columnwise/contents.py",
            '    if b\'"\' not in whole and b"{" not in whole and b"[" not in whole[1:]:',
            "    if True:",
        ),
    ),
    mutant(
        "fencing: the lease is not renewed",
        (
            "worker/loader.py",
            "holds.\n        lease.renew(connection, settings.load_lease_seconds)\n",
            "holds.\n",
        ),
    ),
    mutant(
        "fencing: two loaders at once",
        ("store/tables/leases.py", "    if row and _runs", "    if False and row and _runs"),
    ),
    mutant(
        "allow-list: any function is run",
        ("worker/queue/rq_jobs.py", "if name not in ALLOWED or self.instance:", "if self.instance:"),
    ),
    mutant(
        "allow-list: callbacks are run",
        (
            "worker/queue/rq_jobs.py",
            'b"success_callback_name failure_callback_name stopped_callback_name webhooks meta',
            'b"webhooks meta',
        ),
    ),
    mutant(
        "allow-list: another serializer's fields are read",
        ("worker/queue/rq_jobs.py", "if name not in NEVER_OURS", "if name"),
    ),
    mutant(
        "stuck worker: it goes on",
        ("worker/queue/process/endings.py", "if len(self.jobs) >= ENDINGS:", "if not self.jobs:"),
    ),
    mutant(
        "stuck worker: one job that always raises stops it",
        (
            "worker/queue/process/endings.py",
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
            "    if move.value is None or (current is not None and move.value <= current):\n",
            "    if move.value is None:\n",
        ),
    ),
    mutant(
        "watermark: a corrupt one is taken",
        (
            "store/tables/watermarks.py",
            "            problem = str(error)\n",
            "            problem = None\n",
        ),
    ),
    mutant(
        "watermark: a record of the future moves it",
        ("store/load/chunk.py", "in_time = chunk.c.ts <= latest", "in_time = chunk.c.ts <= LAST_MOMENT"),
    ),
    mutant(
        "clock: a lease from before the clock was set back is waited for",
        ("store/tables/leases.py", ' and row["expires_at"] <= last and', " and"),
    ),
    mutant(
        "clock: a retry is due by the clock of its worker",
        ("worker/queue/rq_jobs.py", "redis_now(self.connection) + wait", "datetime"),
    ),
    mutant(
        "clock: a failed batch is forgotten by the clock of its worker",
        ("worker/queue/upkeep/maintenance.py", "forget_expired(redis, registry)", "registry.cleanup()"),
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
            "        return _another_attempt(here, error)",
            "        raise",
        ),
    ),
    *LETTERS,
    mutant(
        "split: a batch is known though its parts are lost",
        ("worker/queue/send.py", "if part.message.id in split]", "if False]"),
    ),
    mutant(
        "lost: a job that is sent again keeps the time to live of the finished one",
        ("worker/queue/rq_jobs.py", "        pipeline.persist(job.key)\n", ""),
    ),
    mutant(
        "lost: an id without its job is passed over in silence",
        (
            "worker/queue/rq_jobs.py",
            "            lost.note_popped(connection, queue_key, job_id)\n",
            "            pass\n",
        ),
    ),
    mutant(
        "forged: the id of a message is believed",
        ("worker/jobs.py", "        identity.check(message, job.id if job else None)\n", ""),
    ),
    mutant(
        "forged: the letters of a replay are believed",
        ("worker/jobs.py", "            claims.check(engine, message)\n", ""),
    ),
    mutant(
        "outage: a Redis that refuses to write is an error",
        (
            "worker/queue/outage.py",
            "                state = state_of(error)\n",
            "                state = None\n",
        ),
    ),
    mutant(
        "hostile Redis: a key of another type stays where it is",
        ("worker/queue/outage.py", "in_vain < MOST_IN_VAIN:", "False:"),
    ),
    mutant(
        "hostile Redis: a broken DLQ stops a batch",
        (
            "worker/dead_letters/mirror.py",
            "    except (RedisError, QueueUnavailable) as error:",
            "    except ZeroDivisionError as error:",
        ),
    ),
    mutant(
        "bomb: the data of a job are unpacked to their end",
        (
            "worker/queue/packing.py",
            "if _unpacked_size(packed) > MAX_MESSAGE_BYTES:",
            "if False:",
        ),
    ),
    mutant(
        "message: another version is read as this one",
        (
            "worker/queue/message.py",
            "        if type(version) is not int or version != VERSION:",
            "        if False:",
        ),
    ),
    mutant(
        "ids: the fingerprint of contract and mapping is left out",
        (
            "store/tables/deliveries.py",
            "orjson.dumps([kind, source, content, fingerprint, again])",
            "orjson.dumps([kind, source, content, again])",
        ),
    ),
    mutant(
        "ids: a file that is sent anew is the same delivery",
        (
            "store/tables/deliveries.py",
            "orjson.dumps([kind, source, content, fingerprint, again])",
            "orjson.dumps([kind, source, content, fingerprint])",
        ),
    ),
    mutant(
        "ids: equal records of one delivery are one batch",
        ("worker/queue/identity.py", 'delivery.encode() + first.to_bytes(8, "little")', "delivery.encode()"),
    ),
    *CHECKS,
    *FILES,
    *HOSTS,
)
