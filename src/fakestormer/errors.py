"""What a user can have done wrong, as exceptions that carry one clear sentence.

The command line prints the sentence and exits with the code that belongs to it; everything else
that escapes is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class InputError(ValueError):
    """One input cannot be used: names the file, what is wrong with it and what to do."""


class NoFaceError(InputError):
    """The video decodes, but no face can be followed in it for long enough to be scored."""


class OutputError(InputError):
    """A place to write to cannot be used, for this input or any other: says which and why."""


class SetupError(RuntimeError):
    """Something that has to be there is not: says the command that brings it."""


class TrainingError(RuntimeError):
    """A training run cannot go on, though its inputs are fine: says where it broke and what to do.

    The typical case is numbers that grew without bound.
    """


@contextmanager
def needs(what: str, package: str) -> Iterator[None]:
    """Within: a package that is not installed is a SetupError with the command that brings it.

    package: what pip installs, such as `fakestormer[torch]`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("fakestormer"):
            raise
        raise SetupError(
            f"{what} needs {error.name}: install it with `pip install '{package}'`"
        ) from error


def first_complaint(error: ValidationError) -> tuple[str, str]:
    """The first field that Pydantic refuses, and why; the field is "" for the whole value.

    # Recipe(training={"epochs": 0}) -> ("training.epochs", "Input should be greater than 0")
    """
    first = error.errors()[0]
    return ".".join(str(part) for part in first["loc"]), first["msg"]
