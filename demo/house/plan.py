"""What is valued by what, and where in the demo's folder everything lies."""

from __future__ import annotations

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


class Folders:
    """Below `root`. `features`, `requests` and `scoring` are the roots of a job each; `history` stands in for
    S3."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.story, self.features, self.history = root / "story", root / "features", root / "history"
        self.training, self.requests, self.scoring = root / "training", root / "requests", root / "scoring"
        self.training_set, self.models = self.training / "set", self.scoring / "models"
        self.registry = f"sqlite:///{root}/registry.db"

    def make(self) -> None:
        """What the assembling job writes is what the serving job reads: one folder by two names."""
        records = self.scoring / "records" / DATA_TYPE
        for folder in (self.story, self.features, self.training, self.requests, self.models, records):
            folder.mkdir(parents=True)
        (self.requests / "assembled").symlink_to(records)
