"""What only trying shows of Redis: the commands that this user may give."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from redis import Redis
from redis.client import Pipeline
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from worker.doctor.findings import Finding, failed, ok
from worker.queue.outage import STATES, state_of

SECONDS = 60  # what is left behind by a doctor that dies
PREFIXES = ("sluice:doctor", "rq:doctor")


def rights(redis: Redis) -> Finding:
    """Gives every command that the work needs, on keys of its own, and removes them."""
    check = "redis rights"
    refused: list[str] = []
    state = None
    for prefix in PREFIXES:
        key = f"{prefix}:{secrets.token_hex(6)}"
        for name, error in _tried(redis, key).items():
            state = state or state_of(error)
            if isinstance(error, NoPermissionError):
                refused.append(f"{name} on {prefix.partition(':')[0]}:*")
            elif not state_of(error):
                refused.append(f"{name} ({type(error).__name__})")
    if why := _why_not_subscribed(redis):
        refused.append(f"SUBSCRIBE to rq:* ({why})")
    if state:
        return failed(
            check,
            f"it refuses to write: {STATES[state]} ({state})",
            "free its disk or memory, or see its log",
        )
    if refused:
        few = ", ".join(refused[:6]) + (f" and {len(refused) - 6} more" if len(refused) > 6 else "")
        return failed(
            check,
            f"not allowed: {few}",
            "give the user of REDIS_URL the rights that docs/operations.md lists",
        )
    return ok(check, "may do all that workers, loader and producer need on rq:* and sluice:*")


Command = Callable[[Pipeline, str], Any]
# In this order: each finds what those before it have left.
COMMANDS: dict[str, Command] = {
    "SET": lambda to, key: to.set(key, "1", ex=SECONDS, nx=True),
    "GET": lambda to, key: to.get(key),
    "EXISTS": lambda to, key: to.exists(key),
    "TYPE": lambda to, key: to.type(key),
    "TTL": lambda to, key: to.ttl(key),
    "PERSIST": lambda to, key: to.persist(key),
    "EXPIRE": lambda to, key: to.expire(key, SECONDS),
    "INCR": lambda to, key: to.incr(key),
    "RENAME": lambda to, key: to.rename(key, f"{key}:named"),
    "HSET": lambda to, key: to.hset(f"{key}:hash", mapping={"a": "1", "b": "2"}),
    "HSETNX": lambda to, key: to.hsetnx(f"{key}:hash", "c", "3"),
    "HGET": lambda to, key: to.hget(f"{key}:hash", "a"),
    "HMGET": lambda to, key: to.hmget(f"{key}:hash", ["a", "b"]),
    "HGETALL": lambda to, key: to.hgetall(f"{key}:hash"),
    "HKEYS": lambda to, key: to.hkeys(f"{key}:hash"),
    "HLEN": lambda to, key: to.hlen(f"{key}:hash"),
    "HEXISTS": lambda to, key: to.hexists(f"{key}:hash", "a"),
    "HINCRBY": lambda to, key: to.hincrby(f"{key}:hash", "a", 1),
    "HINCRBYFLOAT": lambda to, key: to.hincrbyfloat(f"{key}:hash", "b", 1.0),
    "HSCAN": lambda to, key: to.hscan(f"{key}:hash"),
    "HDEL": lambda to, key: to.hdel(f"{key}:hash", "a"),
    "RPUSH": lambda to, key: to.rpush(f"{key}:list", "a", "b"),
    "LPUSH": lambda to, key: to.lpush(f"{key}:list", "c"),
    "LLEN": lambda to, key: to.llen(f"{key}:list"),
    "LINDEX": lambda to, key: to.lindex(f"{key}:list", 0),
    "LRANGE": lambda to, key: to.lrange(f"{key}:list", 0, -1),
    "LPOS": lambda to, key: to.lpos(f"{key}:list", "a"),
    "LMOVE": lambda to, key: to.lmove(f"{key}:list", f"{key}:moved"),
    "BLMOVE": lambda to, key: to.blmove(f"{key}:list", f"{key}:moved", 1),
    "LREM": lambda to, key: to.lrem(f"{key}:moved", 1, "c"),
    "SADD": lambda to, key: to.sadd(f"{key}:set", "a"),
    "SMEMBERS": lambda to, key: to.smembers(f"{key}:set"),
    "SCARD": lambda to, key: to.scard(f"{key}:set"),
    "SREM": lambda to, key: to.srem(f"{key}:set", "a"),
    "ZADD": lambda to, key: to.zadd(f"{key}:zset", {"a": 1.0}),
    "ZSCORE": lambda to, key: to.zscore(f"{key}:zset", "a"),
    "ZCARD": lambda to, key: to.zcard(f"{key}:zset"),
    "ZRANGE": lambda to, key: to.zrange(f"{key}:zset", 0, -1),
    "ZRANGEBYSCORE": lambda to, key: to.zrangebyscore(f"{key}:zset", "-inf", "+inf"),
    "ZSCAN": lambda to, key: to.zscan(f"{key}:zset"),
    "ZREMRANGEBYSCORE": lambda to, key: to.zremrangebyscore(f"{key}:zset", 5, 6),
    "ZREM": lambda to, key: to.zrem(f"{key}:zset", "a"),
    "XADD": lambda to, key: to.xadd(f"{key}:stream", {"a": "1"}),
    "XREVRANGE": lambda to, key: to.xrevrange(f"{key}:stream"),
    "PUBLISH": lambda to, key: to.publish(f"rq:pubsub:{key}", "1"),
    "TIME": lambda to, key: to.time(),
}
MADE = ("", ":named", ":hash", ":list", ":moved", ":set", ":zset", ":stream")


def _tried(redis: Redis, key: str) -> dict[str, Exception]:
    """Command -> why it was refused. One round of messages; what is made ends by itself too."""
    with redis.pipeline(transaction=False) as pipeline:
        for command in COMMANDS.values():
            command(pipeline, key)
        for suffix in MADE:
            pipeline.expire(key + suffix, SECONDS)
        answers = pipeline.execute(raise_on_error=False)
        found = {
            name: answer
            for name, answer in zip(COMMANDS, answers, strict=False)
            if isinstance(answer, Exception) and not _is_of_a_refusal_before(answer)
        }
    try:
        with redis.pipeline(transaction=True) as pipeline:
            pipeline.watch(key)  # type: ignore[no-untyped-call]
            pipeline.multi()
            pipeline.delete(*(key + suffix for suffix in MADE))
            pipeline.execute()
    except RedisError as error:
        found["WATCH, MULTI, DEL, EXEC"] = error
    return found


def _is_of_a_refusal_before(answer: Exception) -> bool:
    """`no such key` of a RENAME whose SET was refused: that one says why."""
    return isinstance(answer, ResponseError) and "no such key" in str(answer)


def _why_not_subscribed(redis: Redis) -> str:
    with redis.pubsub() as listener:  # type: ignore[no-untyped-call]
        try:
            listener.subscribe("rq:pubsub:doctor")
            listener.get_message(timeout=1.0)
        except RedisError as error:
            return type(error).__name__
    return ""
