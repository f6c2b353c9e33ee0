"""The one look of all progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from fakestormer.detection.printable import shown

#: Names that are listed of something that went wrong; a file always has all of them.
LISTED = 50


@contextmanager
def working(what: str) -> Iterator[None]:
    """A moving bar for work of a few seconds whose steps are not counted."""
    with bar() as drawn:
        drawn.add_task(what, total=None)
        yield


@contextmanager
def counted(what: str) -> Iterator[Callable[..., None]]:
    """A bar for counted work; within, `advance(done, total, name)` moves it and shows the name."""
    with bar() as drawn:
        task = drawn.add_task(what, total=None)

        def advance(done: int, total: int | None, name: str = "") -> None:
            description = f"{what} {shown(name)}" if name else what
            drawn.update(task, completed=done, total=total, description=description)

        yield advance


def bar() -> Progress:
    """A bar that goes when it is done; nothing at all where standard error is not a terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
