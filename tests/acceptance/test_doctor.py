"""`worker doctor` on the private server, with real workers."""

from __future__ import annotations

from .sandbox import SAMPLE, Sandbox


def test_the_doctor_sees_real_workers_and_a_policy_that_loses_jobs(box: Sandbox) -> None:
    box.enqueue(SAMPLE)
    up = box.start("worker", "up", "--workers", "1")
    box.until(
        lambda: box.workers("records") == box.workers("loader") == 1 and box.count("target") == 5, "all work"
    )

    well = box.ok_here("worker", "doctor", "--least-free-mb", "0", "--json").json
    assert well["verdict"] == "ok", [each for each in well["checks"] if each["verdict"] != "ok"]

    box.file("sluice.toml", "[worker]\nextra = 'forbid'\n")
    with box.redis() as redis:
        redis.config_set("maxmemory", "100mb")
        redis.config_set("maxmemory-policy", "allkeys-lru")
    ill = box.run_here("worker", "doctor", "--least-free-mb", "0")
    assert ill.code == 1
    assert all(len(line) <= 132 for line in ill.out.splitlines())
    failed = [line.split("failed")[0].strip() for line in ill.out.splitlines()[3:-2] if "  failed  " in line]
    assert failed == ["redis memory", "contract of workers"]
    ended = up.stop()
    assert ended.code == 0
    ready, stopped = ended.err.splitlines()  # it is quiet
    assert " ready: 1 worker, the loader and its schedule take work from Redis at " in ready
    assert stopped.endswith(": 7 records received, 5 staged, 2 rejected; 5 loaded; 2 letters opened")
