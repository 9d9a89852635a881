"""Model runtimes: one interface (`base`), one module a model type."""
