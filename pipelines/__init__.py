"""Raw data to model inputs: sources, preprocessors, batches.

The names below load on first use, so that importing the package costs nothing and the NumPy
preprocessors never bring TensorFlow in.
"""

from common.lazy import lazy_names

__all__, __getattr__, __dir__ = lazy_names(
    __name__,
    {
        "DataError": "common.errors",
        "Splits": "pipelines.splits",
        "make_splits": "pipelines.splits",
        "TextExample": "pipelines.text_examples",
        "load_labelled_text": "pipelines.sources",
        "TextEncoder": "pipelines.text",
        "TextClassificationPreprocessor": "pipelines.text_classification",
        "load_preprocessor": "pipelines.preprocessor",
        "adding_problem": "pipelines.synthetic_memory",
        "copy_task": "pipelines.synthetic_memory",
    },
)
