"""The tensors of a value, by field: listed, changed and joined, so that no field is forgotten."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

V = TypeVar("V")


def fields_of(value: Any) -> dict[str, Any]:
    """The fields of a dataclass by name, in order; not taken apart any further."""
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def changed(value: V, change: Callable[[Any], Any]) -> V:
    """The value with `change` applied to each field; a field that is None stays None."""
    parts = {
        name: None if part is None else change(part) for name, part in fields_of(value).items()
    }
    make: Any = type(value)
    made: V = make(**parts)
    return made


def joined(values: Sequence[V], join: Callable[[list[Any]], Any]) -> V:
    """One value of several of a type: `join` makes each field of all their fields."""
    make: Any = type(values[0])
    names = fields_of(values[0])
    made: V = make(**{name: join([getattr(value, name) for value in values]) for name in names})
    return made
