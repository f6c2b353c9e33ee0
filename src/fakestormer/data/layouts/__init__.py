"""The layouts of data sets, as they are distributed: a root folder -> a `Listing`.

One plain function per data set, in `LAYOUTS`. Docs: docs/datasets.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fakestormer.data.layouts.bench_json import bench_layout, df40
from fakestormer.data.layouts.celeb_df import celeb_df_v1, celeb_df_v2
from fakestormer.data.layouts.deeperforensics import deeperforensics
from fakestormer.data.layouts.dfdc import dfdc, dfdcp
from fakestormer.data.layouts.ffpp import dfd, ffpp
from fakestormer.data.layouts.folders import diffswap, folder
from fakestormer.data.layouts.options import Layout, Options
from fakestormer.data.layouts.report import check_report
from fakestormer.data.layouts.wilddeepfake import wilddeepfake
from fakestormer.data.listing import Listing
from fakestormer.errors import InputError

__all__ = ["LAYOUTS", "Layout", "Options", "bench_layout", "check_report", "list_dataset"]

LAYOUTS: Mapping[str, Layout] = {
    "ffpp": ffpp,
    "celeb-df-v1": celeb_df_v1,
    "celeb-df-v2": celeb_df_v2,
    "dfd": dfd,
    "dfdcp": dfdcp,
    "dfdc": dfdc,
    "wilddeepfake": wilddeepfake,
    "deeperforensics": deeperforensics,
    "diffswap": diffswap,
    "df40": df40,
    "deepfakebench": bench_layout,
    "folder": folder,
}


def list_dataset(name: str, root: Path, options: Options) -> Listing:
    """What of a data set lies below a root; InputError where nothing of it, or of a method, is
    there.
    """
    if name not in LAYOUTS:
        raise InputError(f"no data set {name}; there are {', '.join(LAYOUTS)}")
    if not root.is_dir():
        problem = "is a file" if root.is_file() else "no such folder"
        content = "the videos" if name == "folder" else name
        raise InputError(f"{root}: {problem}; give the folder that holds {content}")
    listing = LAYOUTS[name](root, options)
    methods = {entry.method for entry in listing.entries if entry.label == "fake"}
    absent = sorted(set(options.methods) - methods)
    if absent:
        raise InputError(f"{root}: no fakes of {name} made by {absent[0]} are here")
    if not listing.entries:
        looked = (
            f"; its lists ({listing.lists}) name {len(listing.missing)}" if listing.lists else ""
        )
        raise InputError(f"{root}: not one video of {name} is here{looked}; check the path")
    return listing
