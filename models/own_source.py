"""The source that a function needs to be executed elsewhere: its file's, or its own."""

from __future__ import annotations

import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from common.errors import ConfigError

_PLAIN = (bool, int, float, str, bytes, tuple, type(None))


def source_of(function: Callable[..., Any]) -> tuple[str, str, str]:
    """Source that stands by itself, the name of the function in it, and where it came from.

    A function of a module is taken with its whole file. One that was typed in a notebook or is in
    the script that runs is taken by itself, with the imports and plain values that it uses, and the
    functions of the same place.

    Raises:
        ConfigError: it is no named function, or uses what cannot be taken along.
    """
    if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
        raise ConfigError(f"network: {function!r} is no function with a name; write def")
    name = function.__name__
    module = sys.modules.get(function.__module__)
    file = getattr(module, "__file__", None)
    top = getattr(module, name, None) is function
    if file and top and function.__module__ != "__main__" and Path(file).is_file():
        return Path(file).read_text(encoding="utf-8"), name, file
    parts: dict[str, str] = {}
    _add(function, parts)
    return "\n".join(parts.values()), name, f"<{name}>"


def _add(function: FunctionType, parts: dict[str, str]) -> None:
    """The function behind what it needs."""
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise _cannot(function, f"its source is not known ({error})") from error
    if function.__closure__:
        inner = ", ".join(function.__code__.co_freevars)
        raise _cannot(function, f"it uses {inner} of the function around it")
    parts[function.__name__] = ""  # it may call itself
    for name in _names(function.__code__):
        if name in function.__globals__ and name not in parts:
            parts[name] = ""
            _add_value(function, name, function.__globals__[name], parts)
    del parts[function.__name__]
    parts[function.__name__] = source


def _add_value(function: FunctionType, name: str, value: Any, parts: dict[str, str]) -> None:
    if isinstance(value, ModuleType):
        parts[name] = f"import {value.__name__} as {name}\n"
        return
    if type(value) in _PLAIN:
        parts[name] = f"{name} = {value!r}\n"
        return
    if isinstance(value, FunctionType) and value.__module__ == function.__module__:
        del parts[name]
        _add(value, parts)
        if value.__name__ != name:
            parts[name] = f"{name} = {value.__name__}\n"
        return
    home, attribute = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if home and home != "__main__" and _found(home, attribute) is value:
        parts[name] = f"from {home} import {attribute} as {name}\n"
        return
    raise _cannot(function, f"it uses {name}, which cannot be taken along")


def _names(code: CodeType) -> Iterator[str]:
    """Global names that a function and those inside it may use."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _found(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def _cannot(function: FunctionType, reason: str) -> ConfigError:
    return ConfigError(
        f"network: {function.__name__} cannot be kept with the run: {reason}; put it in a file "
        "with all that it needs and import it, or give --network FILE.py:FUNCTION"
    )
