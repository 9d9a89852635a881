"""Publishing models from a program, as `millrace publish` does: checked here by the code that jobs load with.

```
published = publish_model(Path("model.pmml"), ModelStream(folder=Path("models")), data_type="wine")
```
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.model_stream import ModelStream
from millrace.options import INLINE_LIMIT
from schemas.codecs.field_reading import Readings
from udfs.io.s3 import S3Options
from udfs.models.runtimes.base import PartialInput

if TYPE_CHECKING:
    from millrace.checking import Checked
    from udfs.models.signing.signer import DescriptorSigner

__all__ = ["INLINE_LIMIT", "ModelStream", "PartialInput", "Published", "S3Options", "publish_model"]


@dataclass(frozen=True, slots=True)
class Published:
    """What was published.

    How the check went, the version, where the descriptor is, what was uploaded, and the descriptor, with its
    signature where it was signed.
    """

    checked: Checked
    version: int
    place: str
    uploaded: tuple[str, ...]
    descriptor: bytes


def publish_model(
    path: Path,
    stream: ModelStream,
    *,
    data_type: str,
    name: str = "",
    version: int = 0,
    model_type: str = "",
    description: str = "",
    fields: Sequence[str] = (),
    inputs: Sequence[PartialInput] = (),
    readings: Readings = (),
    outputs: Sequence[tuple[str, str]] = (),
    metrics: Mapping[str, float] | None = None,
    signature: str = "",
    force: bool = False,
    upload: str = "",
    smoke_rows: Sequence[bytes] = (),
    batch_dependent: bool = False,
    training_operators: bool = False,
    pypmml: bool = False,
    require_verification: bool = False,
    convert: bool = False,
    inline_limit: int = INLINE_LIMIT,
    s3: S3Options | None = None,
    signer: DescriptorSigner | None = None,
) -> Published:
    """Check the model at `path` by loading and trying it, then hand its descriptor to `stream`.

    `name`: by default the data type. `version`: 0 for the present time in epoch milliseconds. `model_type`:
    by default seen from the content. `fields`: the record's fields in the order of the model's columns.
    `outputs`: (name in the model, name in results). A model of more than `inline_limit` bytes is put below
    `upload` (`s3://bucket/prefix` or `file:/folder`). `smoke_rows`: records as JSON objects to try the model
    with, here and in jobs, in the place of made-up ones. `readings`: how fields that `inputs` name are read.
    `training_operators`: the job takes TensorFlow's operators of training. `pypmml`: it lets pypmml score
    what the PMML compiler refuses. `require_verification`: refuse PMML without rows with results of its own.
    `batch_dependent`: answers are meant to depend on the records beside
    them. `convert`: make ONNX of a model of another library by the program that `millrace check-model`
    names, which of a pickle runs the code in it. `force`: serve it although an equal or newer version was
    seen. `signer`: signs the descriptor (`millrace.signing.signer` makes one of a key).

    Raises the `ModelError` of the step that fails, `SettingsError` for what does not fit together, and
    `SourceError` where the stream does not take the descriptor.
    """
    from millrace.checking import check  # noqa: PLC0415
    from millrace.conversion import by_recipe  # noqa: PLC0415
    from millrace.placement import place  # noqa: PLC0415
    from udfs.models.descriptor import build  # noqa: PLC0415

    rows = tuple(smoke_rows)
    inline_limit = max(inline_limit - sum(map(len, rows)), 0)  # both travel in the descriptor
    with tempfile.TemporaryDirectory(prefix="millrace-") as scratch:
        checked = check(
            by_recipe(path, Path(scratch)) if convert else path,
            Path(scratch),
            data_type=data_type,
            name=name,
            model_type=model_type,
            fields=tuple(fields),
            inputs=tuple(inputs),
            readings=readings,
            outputs=tuple(outputs),
            signature=signature,
            inline_limit=inline_limit,
            smoke_rows=rows,
            batch_dependent=batch_dependent,
            training_operators=training_operators,
            pypmml=pypmml,
            require_verification=require_verification,
        )
        model = checked.publication
        placed = place(checked, upload, inline_limit, s3 or S3Options())
        created_ms, next_version = stream.moment(model.data_type)
        version = version or next_version
        descriptor = build(
            data_type=model.data_type,
            name=model.name,
            model_type=model.model_type,
            description=description,
            data=model.data,
            location=placed.location,
            graph=placed.graph,
            version=version,
            created_ms=created_ms,
            sha256=model.sha256,
            size=model.size,
            # With `fields` the order is in no other place, so the descriptor carries it to the job.
            inputs=checked.stated_inputs() if fields else tuple(inputs),
            outputs=model.outputs,
            metrics=dict(metrics or {}),
            signature=signature,
            force=force,
            smoke_rows=rows,
            readings=readings,
            batch_dependent=batch_dependent,
        )
        if signer is not None:
            descriptor = signer.sign(descriptor)
        where = stream.send(model.data_type, model.name, version, created_ms, descriptor)
    return Published(checked, version, where, placed.uploaded, descriptor)
