"""Raw data to model inputs: sources, preprocessors, batches.

The names below load on first use, so that importing the package costs nothing and the NumPy
preprocessors never bring TensorFlow in.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "DataError": "common.errors",
    "Splits": "pipelines.splits",
    "make_splits": "pipelines.splits",
    "TextExample": "pipelines.text_examples",
    "load_labelled_text": "pipelines.sources",
    "TextEncoder": "pipelines.text",
    "TextClassificationPreprocessor": "pipelines.text_classification",
    "load_preprocessor": "pipelines.preprocessor",
    "bucketed_batches": "pipelines.batching",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
