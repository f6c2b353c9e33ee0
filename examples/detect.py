"""Detect in videos, resume where an earlier run stopped, and write a report on each.

python examples/detect.py VIDEOS... --out FOLDER
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fakestormer import DetectorSettings, ResultFiles, detect_many, write_report


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="+", help="files, and folders of videos")
    parser.add_argument("--out", type=Path, required=True, help="for results.json and the reports")
    parser.add_argument("--model", type=Path, help="default: the weights in the package")
    asked = parser.parse_args(arguments)

    settings = DetectorSettings(model=asked.model)
    files = ResultFiles(json_file=asked.out / "results.json", resume=True, reports=asked.out)
    for detection in detect_many(asked.videos, settings=settings, files=files):
        if detection.error is not None:
            print(detection.error)
        elif detection.report is None:
            print(f"{detection.path}: {detection.result['verdict']} (by an earlier run)")
        else:
            page = write_report(detection.report, asked.out)
            print(f"{detection.path}: {detection.report.verdict}; see {page}")


if __name__ == "__main__":
    main()
