"""A model serves, a worse one is rolled back, a better one promoted; the data drift, and one is trained."""
