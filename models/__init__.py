"""Recurrent networks: configuration, layers, training, baselines; names load on first use."""

from common.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "ConfigError": "common.errors",
        "RecurrentConfig": "models.config",
        "accelerate": "models.acceleration",
        "recurrent_stack": "models.recurrent",
        "MaskedPooling": "models.pooling",
        "text_classifier": "models.text_classification",
        "Network": "models.network",
        "keep_mask": "models.masking",
        "fit": "models.training",
        "CellWeights": "models.cells",
        "gates": "models.cells",
        "states": "models.cells",
        "step": "models.cells",
        "dead_units": "models.memory",
        "gradient_norm": "models.memory",
        "gradient_reach": "models.memory",
        "learn": "models.memory",
        "memory_layer": "models.memory",
        "memory_network": "models.memory",
        "new_weights": "models.memory",
        "normal_recurrence": "models.memory",
        "saturated_share": "models.memory",
    },
)
