"""The settings that say who may publish."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from jobs.settings.run import Part
from schemas.errors import SettingsError
from udfs.models.signing.gate import SigningSpec
from udfs.models.signing.signer import SignsWith


class Signing(Part):
    """Whose signatures are wanted on models and plans. See docs/security.md."""

    require: bool = Field(False, description="refuse models, plans and withdrawals that are not signed")
    keys: str = Field(
        "", description="path of the file of keys on every task manager; it is read again when it changes"
    )
    audience: str = Field("", description="how signatures must name this job; empty: by its name")
    skew_seconds: int = Field(300, ge=0, description="by how much a publisher's clock may be ahead")

    @model_validator(mode="after")
    def _keys_to_ask(self) -> Self:
        if self.require and not self.keys:
            raise ValueError("signing.require needs signing.keys, the file that says whose keys count")
        return self

    def spec(self, job: str) -> SigningSpec:
        """`job`: its name."""
        return SigningSpec(self.require, self.keys, self.audience or job, self.skew_seconds * 1000)


class SigningOwn(Signing):
    """Also how the job signs what it publishes itself."""

    key: str = Field(
        "",
        description="path of a private key (PEM) on every task manager, to sign plans with; empty: unsigned",
    )
    key_audience: tuple[str, ...] = Field(
        (), description="the jobs that its plans are for, this one included, by their signing.audience"
    )

    @model_validator(mode="after")
    def _somebody_to_sign_for(self) -> Self:
        if self.key and not self.key_audience:
            raise ValueError("signing.key needs signing.key_audience, the jobs that take what it signs")
        if self.require and not self.key:
            raise ValueError(
                "signing.require needs signing.key, to sign the job's own plans with: it reads them back"
            )
        return self

    def spec(self, job: str) -> SigningSpec:
        """`job`: its name. Raises `SettingsError` where the job would refuse its own plans."""
        spec = super().spec(job)
        if self.require and spec.audience not in self.key_audience:
            raise SettingsError(
                f"signing.key_audience must name {spec.audience!r}, this job's own signing.audience: it reads"
                " its plans back"
            )
        return spec

    def signs(self) -> SignsWith | None:
        """None: not at all."""
        return SignsWith(self.key, self.key_audience) if self.key else None
