"""A job runs the code it was submitted with, or not at all.

In thread mode a task manager keeps the Python modules of its first job. A later job that brings other code
is then unpickled onto the old modules, and would go on with them without a word.
"""

from __future__ import annotations

from operators.code_path import follow_code
from schemas.errors import CodeError
from udfs.models.code_version import CODE_PACKAGES, code_digest
from udfs.models.python_holes import check_python

__all__ = ["check_code", "code_digest"]


def check_code(submitted: str) -> None:
    """Raise `CodeError` where this process holds other code than the digest `submitted` says.

    And `SettingsError` where its Python has a hole: a task manager's may be another than the submitter's.
    What is imported later is found as `operators.code_path` says.
    """
    follow_code(CODE_PACKAGES)
    check_python()
    if submitted != code_digest():
        raise CodeError(
            f"this task manager runs other code ({code_digest()[:12]}) than the job was submitted with "
            f"({submitted[:12]}): in thread mode it keeps the modules of its first job, so replace the task "
            "managers, or set the mode to process; in process mode it finds other packages first, of its "
            "installation or of the folder it was started in (unless PYTHONSAFEPATH=1)"
        )
