"""A store of every video below a folder, by any face backend; for tests of every room."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from fakestormer.data.layouts.options import Options
from fakestormer.data.manifest import Labelling
from fakestormer.data.origin import Origin
from fakestormer.data.prepare import Summary, prepare_listing
from fakestormer.data.table import match_table


def prepare_folder(
    videos: Path,
    store: Path,
    *,
    validation_sources: tuple[str, ...] = (),
    table: Path | None = None,
    **how: Any,
) -> Summary:
    """`prepare_listing` with the options `how`, those of `Labelling` among them."""
    origin = Origin(layout="folder", root=videos, options=Options(store=store))
    listing = origin.listing()
    names = [entry.video for entry in listing.entries]
    matched = None if table is None else match_table(table, videos, names)
    labelling = Labelling(
        validation_sources=frozenset(validation_sources),
        table={} if matched is None else matched.columns,
        **{name: how.pop(name) for name in ("split", "seed", "validation_fraction") if name in how},
    )
    summary = prepare_listing(listing, store, labelling=labelling, origin=origin, **how)
    return replace(summary, unmatched=0 if matched is None else len(matched.unmatched))
