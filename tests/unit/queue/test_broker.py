from __future__ import annotations

import pytest
from redis import Redis
from redis.exceptions import (
    AuthenticationError,
    ConnectionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from rq.serializers import JSONSerializer

from store.errors import QueueUnavailable
from worker.queue.client import at_address, translated
from worker.queue.quarantine import ForbiddenFunction
from worker.queue.rq_jobs import SluiceJob
from worker.queue.serializer import JsonSerializer

URL = "redis://user:secret@queue.example:6379/0"


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        (ConnectionError("refused"), "cannot be reached"),
        (OSError("no route"), "cannot be reached"),
        (ReadOnlyError("replica"), "cannot be reached"),
        (ResponseError("LOADING Redis is loading the dataset"), "cannot be reached"),
        (AuthenticationError("WRONGPASS"), "refused the login"),
        (OutOfMemoryError("OOM"), "is full"),
        (ValueError("no scheme"), "REDIS_URL is no URL"),
    ],
)
def test_a_system_error_of_redis_says_what_to_do_and_never_the_password(
    error: Exception, reported: str
) -> None:
    with pytest.raises(QueueUnavailable, match=reported) as raised, translated(URL):
        raise error
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_programming_error_passes_as_it_is() -> None:
    with pytest.raises(ResponseError, match="WRONGTYPE"), translated(URL):
        raise ResponseError("WRONGTYPE")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (URL, " at queue.example:6379/0"),
        ("redis://:p@ss@h:1", " at h:1"),
        ("unix:///run/r.sock", " at /run/r.sock"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_user_and_password(url: str, shown: str) -> None:
    assert at_address(url) == shown


def test_jobs_are_written_as_rqs_own_json_serializer_reads_them() -> None:
    value = ["worker.jobs.process_batch", None, [{"a": [1, "é"]}], {}]
    assert JSONSerializer.loads(JsonSerializer.dumps(value)) == value
    assert JsonSerializer.loads(JSONSerializer.dumps(value)) == value


@pytest.mark.parametrize(
    "name", ["os.system", "worker.workplace.workplace", "worker.jobs", "", "worker.jobs.load_staged "]
)
def test_a_job_may_name_no_function_but_ours(name: str) -> None:
    job = SluiceJob(connection=Redis(), serializer=JsonSerializer)
    job._func_name, job._instance, job._args, job._kwargs = name, None, (), {}
    job._data = b""
    with pytest.raises(ForbiddenFunction, match="refused to run"):
        _ = job.func


def test_a_job_may_be_no_method_of_an_object() -> None:
    job = SluiceJob(connection=Redis(), serializer=JsonSerializer)
    job._func_name, job._instance, job._args, job._kwargs = "worker.jobs.load_staged", "an object", (), {}
    job._data = b""
    with pytest.raises(ForbiddenFunction):
        _ = job.func
