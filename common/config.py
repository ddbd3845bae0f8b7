"""Frozen dataclasses of settings: every value is checked when one is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_type_hints

from common.errors import ConfigError

# How a field of a configuration is declared: its default, what it may be, and what it is.


def number(default: float, minimum: float, maximum: float, help: str) -> Any:
    """A number from ``minimum`` to ``maximum``, both included."""
    return field(default=default, metadata={"minimum": minimum, "maximum": maximum, "help": help})


def choice(default: str, choices: tuple[str, ...], help: str) -> Any:
    """One of some words."""
    return field(default=default, metadata={"choices": choices, "help": help})


def switch(default: bool, help: str) -> Any:
    """True or false."""
    return field(default=default, metadata={"help": help})


def text(default: str, help: str) -> Any:
    """Any words; "" where there are none."""
    return field(default=default, metadata={"help": help})


def path(default: str, help: str) -> Any:
    """Path of a file; "" where there is none."""
    return field(default=default, metadata={"help": help, "path": True})


@dataclass(frozen=True)
class Config:
    """A frozen dataclass whose values are checked as it is made.

    An unknown key, a value of another type or out of range is a ``ConfigError``. Fields that are
    not declared by ``number``, ``choice``, ``switch``, ``text`` or ``path`` are no settings: they
    hold what is learnt, and are not checked.
    """

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in self.settings():
            checked = _checked(item.name, getattr(self, item.name), hints[item.name], item.metadata)
            object.__setattr__(self, item.name, checked)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Any:
        """A configuration from a mapping; a key that is no field is an error."""
        return cls().updated(**values)

    @classmethod
    def names(cls) -> list[str]:
        """Names of all settings."""
        return [item.name for item in cls.settings()]

    @classmethod
    def settings(cls) -> list[Any]:
        """The fields that are settings; ``metadata`` has the help, choices and limits of each."""
        return [item for item in fields(cls) if item.metadata]

    @classmethod
    def paths(cls) -> list[str]:
        """Names of the settings that are paths of files."""
        return [item.name for item in cls.settings() if item.metadata.get("path")]

    def updated(self, **values: Any) -> Any:
        """The same with other values."""
        known = self.names()
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ConfigError(f"unknown setting {unknown[0]!r}; there are: {', '.join(known)}")
        return replace(self, **values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values of all settings, for JSON."""
        return {name: getattr(self, name) for name in self.names()}


def _checked(name: str, value: Any, kind: type, limits: Mapping[str, Any]) -> Any:
    # bool is a subclass of int, and JSON writes 1.0 as 1: the one is refused, the other is taken.
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)  # a column's name may look like a number
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ConfigError(f"{name} is {value!r}; it must be of type {kind.__name__}")
    if "choices" in limits and value not in limits["choices"]:
        raise ConfigError(f"{name} is {value!r}; use one of {', '.join(limits['choices'])}")
    if "minimum" in limits and not limits["minimum"] <= value <= limits["maximum"]:
        raise ConfigError(
            f"{name} is {value!r}; it must be from {limits['minimum']:g} to {limits['maximum']:g}"
        )
    return value
