"""What commands that put something on the model stream are told: where it goes, and who signs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from millrace.options import Bootstrap, Client, ModelsTopic, Timeout, ToFolder, either
from millrace.signing import Audience, Sign, ValidDays, signer

if TYPE_CHECKING:
    from millrace.model_stream import ModelStream
    from udfs.models.signing.signer import DescriptorSigner


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """The options as they were given."""

    to_folder: ToFolder = None
    bootstrap: Bootstrap = None
    topic: ModelsTopic = "models"
    client: Client = None
    timeout: Timeout = 30.0
    sign: Sign = None
    audience: Audience = None
    valid_days: ValidDays = 90.0

    def stream(self) -> ModelStream:
        """A usage error unless exactly one of a folder and Kafka is given."""
        either(self.to_folder, self.bootstrap, "--to-folder")
        from millrace.model_stream import ModelStream  # noqa: PLC0415
        from millrace.values import parse_pairs  # noqa: PLC0415

        client = parse_pairs(self.client, "--client")
        return ModelStream(self.to_folder, self.bootstrap, self.topic, client, self.timeout)

    def signer(self) -> DescriptorSigner | None:
        """None where nothing is to be signed. Raises `SettingsError` for a key that is none."""
        return signer(self.sign, self.audience, self.valid_days)
