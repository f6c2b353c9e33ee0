"""What several shots bring (paper 6.6, Table 11), by which patches are hidden between them.

    python benchmarks/shots.py --model RUN --data STORE [--data STORE ...] --out FOLDER

Prints the video AUC after each of five shots by the last shot, in parentheses by the mean so far.
Columns: patches whose D~(1) is above a share of the clip's largest (the set P of the paper), and
the largest patch alone (the release). The folder keeps the scores; the same command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from fakestormer import Detector
from fakestormer.evaluation.document import scores_of
from fakestormer.evaluation.evaluate import EvaluationSettings, evaluate
from fakestormer.evaluation.metrics import auc
from fakestormer.evaluation.tables import per_cent

SHOTS = 5
THRESHOLDS = (0.5, 0.8, None)


def main() -> None:
    """Score every store with each threshold and print one table per store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    way = Detector(args.model).prediction.model_copy(update={"shots": SHOTS, "calibration": None})
    for store in args.data:
        columns = {}
        for threshold in THRESHOLDS:
            settings = EvaluationSettings(
                prediction=way.model_copy(update={"shot_threshold": threshold}), split="all"
            )
            out = args.out / f"{store.name}-{threshold}"
            scores = scores_of(evaluate(args.model, {"data": store}, out, settings), way.sampling)
            scored = [score for score in scores if score.score is not None]
            fake = np.array([score.label == "fake" for score in scored])
            columns[threshold] = (fake, np.array([score.shots for score in scored]))
        fake, _ = columns[None]
        print(f"\n{store.name}: {int((~fake).sum())} real, {int(fake.sum())} fake videos\n")
        names = ["largest alone" if t is None else f"above {t:g}" for t in columns]
        print(f"| shots | {' | '.join(names)} |\n|{' --- |' * (1 + len(names))}")
        for shot in range(SHOTS):
            cells = [
                f"{per_cent(auc(fake, each[:, shot]))} "
                f"({per_cent(auc(fake, each[:, : shot + 1].mean(axis=1)))})"
                for fake, each in columns.values()
            ]
            print(f"| {shot + 1} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
