"""Recurrent networks: configuration, layers, training, baselines; names load on first use."""

from common.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ConfigError": "common.errors",
        "RecurrentConfig": "models.config",
        "recurrent_stack": "models.recurrent",
        "MaskedPooling": "models.pooling",
        "text_classifier": "models.text_classification",
        "fit": "models.training",
    },
)
