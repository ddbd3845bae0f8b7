"""Converters of layers to ONNX nodes; every module here is imported, and registers its own."""

from importlib import import_module
from pkgutil import iter_modules


def register_all() -> None:
    """Imports every module of this package, so that all converters are known."""
    for module in iter_modules(__path__):
        import_module(f"{__name__}.{module.name}")
