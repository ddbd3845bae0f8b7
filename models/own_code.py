"""A user's own Python source as a module that processes and later loads find again."""

from __future__ import annotations

import hashlib
import linecache
import sys
import traceback
from types import ModuleType
from typing import Any

from common.errors import ConfigError


def fingerprint(source: str) -> str:
    """SHA-256 of the source."""
    return hashlib.sha256(source.encode("utf-8")).hexdigest()


def module_of(source: str, where: str) -> ModuleType:
    """Executes source by itself, once in a process.

    Its name follows from its content: a layer class that a saved model names is found in it
    wherever the same source was executed before.

    Args:
        source: Python; it may import what is installed.
        where: name of its file, for messages.

    Raises:
        ConfigError: it cannot be executed; the message names the line.
    """
    name = f"seqloom_own_{fingerprint(source)[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = where
    # inspect.getsource and tracebacks read it from here: the file may have changed since.
    linecache.cache[where] = (len(source), None, source.splitlines(keepends=True), where)
    sys.modules[name] = module
    try:
        exec(compile(source, where, "exec"), module.__dict__)  # noqa: S102  the user's own
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(f"{described(where, error)}; it is executed by itself") from error
    return module


def described(where: str, error: BaseException) -> str:
    """``my.py, line 7: NameError: name 'x' is not defined``: the last line of that file."""
    lines = [
        one.lineno for one in traceback.extract_tb(error.__traceback__) if one.filename == where
    ]
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    at = line or (lines[-1] if lines else None)
    text = " ".join(str(error).split())
    return f"{where}{f', line {at}' if at else ''}: {type(error).__name__}: {text}"


def custom_objects(module: ModuleType) -> dict[str, Any]:
    """Its own classes and functions by name, as ``keras.saving.load_model`` takes them."""
    return {
        name: value
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    }
