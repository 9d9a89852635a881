"""House prices: features created from sales, kept for training, served online, and scored with."""
