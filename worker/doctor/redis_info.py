"""What Redis says of itself in INFO, judged. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from worker.doctor.findings import Finding, failed, ok, warning
from worker.queue.rq_internals import REDIS_WITH_LMOVE
from worker.queue.server.connection import NO_CLUSTER

Info = Mapping[str, Any]

LEAST_MEMORY = 20 << 20  # bytes, as docs/operations.md says
FULL, NEARLY_FULL = 0.95, 0.8  # the part of maxmemory from which on nothing is sent
CROWDED = 0.8  # the part of maxclients
FAST_FLUSH = ("always", "everysec")


def server(info: Info) -> Finding:
    """Whether it is new enough, alone, and takes writes."""
    check = "redis server"
    name, version = product(info)
    numbers = tuple(map(int, re.findall(r"\d+", str(info.get("redis_version", "")))[:3]))
    described = f"{name} {version}, {info.get('redis_mode', 'standalone')}, {info.get('role', 'master')}"
    if not numbers:
        return failed(
            check,
            "it tells no version, and a worker takes it for too old",
            "give the user of REDIS_URL the right +info",
        )
    if numbers < REDIS_WITH_LMOVE:
        return failed(
            check,
            f"{described}: without LMOVE a worker that dies loses its job",
            "use Redis 6.2 or newer, or Valkey",
        )
    if info.get("redis_mode") == "cluster" or info.get("cluster_enabled") in (1, "1"):
        return failed(check, f"{described}: {NO_CLUSTER}", "set REDIS_URL to a server that is no cluster")
    if info.get("role") in ("slave", "replica"):
        return failed(
            check,
            f"{described}: a replica takes no writes",
            "set REDIS_URL to its master, or to its Sentinels",
        )
    if info.get("loading") in (1, "1"):
        return failed(check, f"{described}: it reads its data", "wait until it has read them")
    return ok(check, described)


def product(info: Info) -> tuple[str, str]:
    """Its name and version; Valkey calls itself Redis 7.2 too."""
    if "valkey_version" in info:
        return "Valkey", str(info["valkey_version"])
    return "Redis", str(info.get("redis_version", "of unknown version"))


def memory(info: Info) -> Finding:
    """Whether it removes keys by itself, and whether there is room."""
    check = "redis memory"
    if "maxmemory_policy" not in info:
        return warning(
            check,
            "it does not tell its maxmemory-policy",
            "make sure that it is noeviction: others lose jobs",
        )
    policy, limit, used = str(info["maxmemory_policy"]), int(info.get("maxmemory", 0)), _used(info)
    described = f"maxmemory-policy {policy}, {megabytes(used)} used" + (
        f" of {megabytes(limit)}" if limit else ", no limit"
    )
    if policy != "noeviction":
        remedy = "CONFIG SET maxmemory-policy noeviction, and the same in its configuration"
        if limit:
            return failed(check, f"{described}: when it is full it removes batches and jobs", remedy)
        return warning(check, f"{described}: once it gets a limit, it removes batches and jobs", remedy)
    if limit and used >= FULL * limit:
        return failed(check, f"{described}: it is full", "let workers drain it, or raise maxmemory")
    if limit and (used >= NEARLY_FULL * limit or limit < LEAST_MEMORY):
        why = "the producer waits" if used >= NEARLY_FULL * limit else "that is little"
        return warning(
            check, f"{described}: {why}", "raise maxmemory: at least 20 MB, and a full queue uses under 80%"
        )
    return ok(check, described)


def _used(info: Info) -> int:
    return int(info.get("used_memory", 0))


def persistence(info: Info, *, is_private: bool) -> Finding:
    """Whether the queue outlives the server."""
    check = "redis persistence"
    if "aof_enabled" not in info:
        return warning(
            check, "it does not tell whether it has an append-only file", "make sure: appendonly yes"
        )
    has_file = str(info["aof_enabled"]) == "1"
    states = ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")
    bad = [
        name
        for name in states
        if str(info.get(name, "ok")) != "ok" and (has_file or not name.startswith("aof"))
    ]
    described = "an append-only file" if has_file else "no append-only file"
    if bad:
        return failed(
            check, f"{described}; {', '.join(bad)} is not ok", "free its disk, and see the log of the server"
        )
    if has_file:
        return ok(check, described)
    if is_private:
        return failed(
            check,
            f"{described}, though it is the private server",
            "`worker down`: the next command starts it with one",
        )
    return warning(
        check,
        f"{described}: a restart loses what is queued",
        "appendonly yes; without it, send the files again after each restart",
    )


def clients(info: Info, timeouts: Mapping[str, Any]) -> Finding:
    """Whether there is room for connections, and how long this one waits."""
    check = "redis connections"
    used, most = int(info.get("connected_clients", 0)), int(info.get("maxclients", 0))
    waits = ", ".join(f"{name} {value:g} s" for name, value in timeouts.items() if value is not None)
    described = f"{used:,} of {most:,}" if most else f"{used:,}"
    if most and used >= CROWDED * most:
        return warning(
            check,
            f"{described} connections; {waits}",
            "raise maxclients, or see with CLIENT LIST who has so many",
        )
    return ok(check, f"{described} connections; {waits}")


def megabytes(number: float) -> str:
    """Bytes for people."""
    if number >= 1 << 30:
        return f"{number / (1 << 30):,.1f} GB"
    return f"{number / (1 << 20):,.0f} MB"
