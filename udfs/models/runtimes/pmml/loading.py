"""A PMML model as jobs load it: compiled, or scored by pypmml where that is allowed and proven."""

from __future__ import annotations

from typing import TYPE_CHECKING

from schemas.errors import UnprovenModelError
from udfs.models.runtimes.base import Artifact, Runtime, WantedSignature
from udfs.models.runtimes.pmml import runtime
from udfs.models.runtimes.pmml.document import parse
from udfs.models.runtimes.pmml.runtime import PmmlRuntime

if TYPE_CHECKING:
    from udfs.models.runtimes.pmml.pypmml_runtime import PypmmlRuntime

_POSSIBLE = (
    "its own rows (ModelVerification) may prove that pypmml scores it right: check-model --pypmml tries "
    "that, and a job does so with the setting pypmml of its data type"
)


def load(artifact: Artifact, wanted: WantedSignature) -> Runtime:
    """As `runtime.load`; what the compiler refuses goes to pypmml if `wanted` allows it.

    Refused, too, where `wanted` asks for a verification and there is none. Where it asks for a second
    opinion, the runtime's `notes` say it.
    """
    loaded = _loaded(artifact, wanted)
    if wanted.verification and not loaded.verified:
        loaded.close()
        raise UnprovenModelError("the document holds no ModelVerification, which is required")
    if wanted.second_opinion and isinstance(loaded, PmmlRuntime):
        # Here and not at the top: it needs packages that others have not.
        from udfs.models.runtimes.pmml.second_opinion import second_opinion, sentences  # noqa: PLC0415

        columns = None if wanted.rows is None else wanted.rows(loaded.inputs)
        loaded.notes = tuple(sentences(second_opinion(loaded, artifact.content("a PMML model"), columns)))
    return loaded


def _loaded(artifact: Artifact, wanted: WantedSignature) -> PmmlRuntime | PypmmlRuntime:
    try:
        return runtime.load(artifact, wanted)
    except UnprovenModelError as e:
        document = parse(artifact.content("a PMML model"))
        if wanted.pypmml:
            # Here and not at the top: few jobs allow it, and it needs packages that others have not.
            from udfs.models.runtimes.pmml.pypmml_runtime import load_proven  # noqa: PLC0415

            return load_proven(document, wanted, str(e))
        if document.model.find("ModelVerification") is None:
            raise
        raise UnprovenModelError(f"{e}; {_POSSIBLE}") from None
