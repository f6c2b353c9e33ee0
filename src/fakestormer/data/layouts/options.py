"""What a user can choose about a data set; each layout looks at the choices it knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from fakestormer.data.listing import Listing

Compression = Literal["raw", "c23", "c40"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a user chose about a data set. compression: of ffpp and what is made from it.

    reals: where the reals of deeperforensics (an FF++ root) and of df40 lie (FF++ or Celeb-DF
    frames). variant: of deeperforensics. methods: only fakes made by these; empty takes all. lists:
    DeepfakeBench's JSON, or a folder of them, where they do not lie below the root. store: a folder
    that is no part of the data set though it may lie below the root.
    """

    compression: Compression = "c23"
    reals: Path | None = None
    variant: str = "end_to_end"
    methods: tuple[str, ...] = ()
    lists: Path | None = None
    store: Path | None = None

    def __post_init__(self) -> None:
        if self.compression not in get_args(Compression):
            raise ValueError(f"unknown compression {self.compression!r}")

    def wants(self, method: str) -> bool:
        return not self.methods or method in self.methods


#: Looks below a root; raises InputError where nothing of its data set is there.
Layout = Callable[[Path, Options], Listing]
