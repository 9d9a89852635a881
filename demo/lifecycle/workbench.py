"""The data scientist's side of the demo, a process of its own: `millrace publish`, `profile`, `experiment`.

Requests and answers are as in `demo.workbench`.
"""

from __future__ import annotations

from demo.workbench import WorkbenchError, answer_requests


def publish(*, path: str, data_type: str, name: str, version: int, about: str, models: str) -> bool:
    arguments = ["publish", path, "--to-folder", models, "--data-type", data_type, "--name", name]
    return _run([*arguments, "--version", str(version), "--description", about])


def publish_plan(*, path: str, data_type: str, version: int, models: str) -> bool:
    return _run(["plan", path, "--data-type", data_type, "--version", str(version), "--to-folder", models])


def profile(*, path: str, to: str) -> bool:
    return _run(["profile", path, "--to", to])


def start_experiment(*, path: str, models: str) -> bool:
    return _run(["experiment", "start", path, "--to-folder", models])


def _run(arguments: list[str]) -> bool:
    from millrace.cli import app  # noqa: PLC0415

    if app(arguments, standalone_mode=False):
        raise WorkbenchError(f"millrace {' '.join(arguments[:2])} refuses it")
    return True


if __name__ == "__main__":
    answer_requests((publish, publish_plan, profile, start_experiment))
