"""What is valued by what, and where in the demo's folder everything lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from devservices.process import ROOT

DECLARATIONS = ROOT / "demo" / "features" / "house_prices.py"
DATA_TYPE = "house"
MODEL = "house_price"
TARGET = "price_m2"
PREDICTED = f"predicted_{TARGET}"
INPUTS = {
    "area": "houses_v1:area",
    "rooms": "houses_v1:rooms",
    "age": "houses_v1:age",
    "garden": "houses_v1:garden",
    "sold_14d": "district_prices_v1:sold_14d",
    "mean_m2_14d": "district_prices_v1:mean_m2_14d",
    "trend_14d": "district_prices_v1:trend_14d",
}
"""Field of the model -> feature."""
DISTRICTS = 12
DAY_MS = 86_400_000
TRAIN, TEST = "train", "test"


@dataclass(frozen=True, slots=True)
class Folders:
    """Below `root`. `features`, `requests` and `scoring` are the roots of a job each."""

    root: Path

    @property
    def story(self) -> Path:
        return self.root / "story"

    @property
    def features(self) -> Path:
        return self.root / "features"

    @property
    def history(self) -> Path:
        """The stand-in for S3."""
        return self.root / "history"

    @property
    def training(self) -> Path:
        return self.root / "training"

    @property
    def training_set(self) -> Path:
        return self.training / "set"

    @property
    def requests(self) -> Path:
        return self.root / "requests"

    @property
    def scoring(self) -> Path:
        return self.root / "scoring"

    @property
    def models(self) -> Path:
        return self.scoring / "models"

    @property
    def registry(self) -> str:
        return f"sqlite:///{self.root}/registry.db"

    def make(self) -> None:
        """What the assembling job writes is what the serving job reads: one folder by two names."""
        records = self.scoring / "records" / DATA_TYPE
        for folder in (self.story, self.features, self.training, self.requests, self.models, records):
            folder.mkdir(parents=True)
        (self.requests / "assembled").symlink_to(records)
