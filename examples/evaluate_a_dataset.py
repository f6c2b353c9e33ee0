"""Measure a model on the test split of a data set, as it was distributed.

python examples/evaluate_a_dataset.py celeb-df-v2 DIR --out FOLDER
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fakestormer import (
    Detector,
    EvaluationSettings,
    Options,
    Origin,
    PrepareSettings,
    evaluate,
    prepare,
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data_set", help="a layout's name: ffpp, celeb-df-v2, dfdc, ...")
    parser.add_argument("folder", type=Path, help="the folder of the data set")
    parser.add_argument("--out", type=Path, required=True, help="for the store and the results")
    parser.add_argument("--model", type=Path, help="default: the weights in the package")
    asked = parser.parse_args(arguments)

    recipe = Detector(asked.model).recipe  # faces are cropped as the model expects them
    origin = Origin(layout=asked.data_set, root=asked.folder, options=Options())
    store = asked.out / "store"
    prepare(origin, store, recipe=recipe, settings=PrepareSettings(splits=("test",)))

    settings = EvaluationSettings(split="test")
    evaluate(asked.model, {asked.data_set: store}, asked.out, settings)
    print((asked.out / "evaluation.md").read_text())


if __name__ == "__main__":
    main()
