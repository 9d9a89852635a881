"""Assembly: the feature vector that a prediction request needs, with what is created on demand."""
