"""Train a model on a folder of real videos; no fakes are needed.

    python examples/train_on_your_videos.py VIDEOS --hold-out SOURCE --out RUN

A source is a folder below VIDEOS; in a flat folder, it is a file's name up to the last underscore.
Sources that are held out choose the best epoch.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fakestormer import PrepareSettings, TrainSettings, load_recipe, prepare, train


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the run")
    parser.add_argument("--hold-out", action="append", required=True, help="a source; repeatable")
    parser.add_argument("--recipe", default="tiny", help="paper, release, small or tiny")
    parser.add_argument("--set", action="append", default=[], help="FIELD=VALUE; repeatable")
    asked = parser.parse_args(arguments)

    recipe = load_recipe(asked.recipe, asked.set)
    store = asked.out / "store"
    settings = PrepareSettings(hold_out=tuple(asked.hold_out))
    summary = prepare(asked.videos, store, recipe=recipe, settings=settings)
    print(f"{summary.tracks} faces in {summary.videos} videos; not used: {summary.rejected}")

    result = train(store, asked.out, recipe=recipe, settings=TrainSettings(workers=1))
    print(f"{result.model}: AUC {result.best['auc_video']:.3f} on the videos that were held out")


if __name__ == "__main__":
    main()
