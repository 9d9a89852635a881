"""What tests and benchmarks ask of Flink's REST interface."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

from devservices.process import ServiceError, wait_until

ENDED = ("FAILED", "CANCELED", "FINISHED", "SUSPENDED")
_CONSISTENT = r"savepoint has been created at: (\S+), but the .* The savepoint is consistent"
_LATE_TIMER = "Mailbox is in state QUIESCED"


class FlinkRest:
    """Calls to one cluster's REST interface at `url`; ServiceError where it refuses one."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, path: str, body: Mapping[str, object] | None = None, method: str | None = None) -> Any:
        """The decoded answer of `GET path`, or of `POST` where there is a body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as refused:
            raise ServiceError(f"Flink refuses {path}: {refused.read().decode()[:2000]}") from refused

    def task_managers(self) -> list[str]:
        """Ids of the registered task managers; empty while the job manager does not answer."""
        try:
            return [found["id"] for found in self.call("/taskmanagers")["taskmanagers"]]
        except (OSError, ServiceError):
            return []

    def jobs(self) -> dict[str, str]:
        """Job id -> state, for all jobs the cluster remembers."""
        return {job["id"]: job["status"] for job in self.call("/jobs")["jobs"]}

    def state(self, job_id: str) -> str:
        """The job's state, e.g. RUNNING."""
        return str(self.call(f"/jobs/{job_id}")["state"])

    def exceptions(self, job_id: str, count: int = 3) -> str:
        """The stack traces of the job's latest failures, newest first; empty where there is none."""
        found = self.call(f"/jobs/{job_id}/exceptions?maxExceptions={count}")
        entries = found["exceptionHistory"]["entries"]
        return "\n\n".join(entry["stacktrace"] for entry in entries[:count])

    def wait_running(self, job_id: str, seconds: float = 90) -> None:
        """Return when every task runs; ServiceError with the job's exceptions if that does not come."""

        def running() -> bool:
            job = self.call(f"/jobs/{job_id}")
            if job["state"] in ENDED:
                raise ServiceError(f"Job {job_id} is {job['state']}.\n{self.exceptions(job_id)}")
            vertices = [vertex["status"] for vertex in job["vertices"]]
            return job["state"] == "RUNNING" and bool(vertices) and set(vertices) == {"RUNNING"}

        wait_until(running, seconds, lambda: f"Job {job_id} does not run.\n{self.exceptions(job_id)}")

    def wait_ended(self, job_id: str, seconds: float = 90) -> str:
        """Return the job's last state when it has one."""
        wait_until(
            lambda: self.state(job_id) in ENDED,
            seconds,
            lambda: f"Job {job_id} does not end.\n{self.exceptions(job_id)}",
        )
        return self.state(job_id)

    def stop_with_savepoint(self, job_id: str, target: str, seconds: float = 300) -> str:
        """Stop the job; returns the path of its savepoint, which lies under `target`.

        In process mode a job can fail while it stops, after its savepoint: see the known limits in
        docs/architecture.md. It is started from it as from any other.
        """
        body = {"targetDirectory": target, "drain": False}
        trigger = self.call(f"/jobs/{job_id}/stop", body)["request-id"]
        path = f"/jobs/{job_id}/savepoints/{trigger}"
        wait_until(
            lambda: self.call(path)["status"]["id"] == "COMPLETED",
            seconds,
            lambda: f"The savepoint of job {job_id} does not complete.\n{self.exceptions(job_id)}",
        )
        operation = self.call(path)["operation"]
        if "location" not in operation:
            cause = operation["failure-cause"]["stack-trace"]
            made = re.search(_CONSISTENT, cause)
            if made is None or _LATE_TIMER not in self.exceptions(job_id):
                raise ServiceError(f"The savepoint of job {job_id} failed.\n{cause}")
            operation["location"] = made[1]
        self.wait_ended(job_id, seconds)
        return str(operation["location"])

    def cancel(self, job_id: str, seconds: float = 90) -> None:
        """Cancel the job and return when it has ended; one that has ended by itself is left alone."""
        try:
            self.call(f"/jobs/{job_id}?mode=cancel", {}, method="PATCH")
        except ServiceError:
            if self.state(job_id) not in ENDED:
                raise
        self.wait_ended(job_id, seconds)
