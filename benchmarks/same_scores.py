"""Whether two versions of the program give the same numbers, to the last digit.

    python benchmarks/same_scores.py DATA --out before.json
    python benchmarks/same_scores.py DATA --out after.json --against before.json

DATA holds videos in folders: real/ with real faces, and other folders. Three things are measured
with one thread and fixed seeds:

    detection    20 videos by the shipped weights: every probability and frame score
    training     50 steps of a small recipe, from scratch: every loss, and the validations
    evaluation   the shipped weights on the same 20 videos, prepared as a test set: every score

Only the command line and `fakestormer.Detector` are used, so the same script runs on old and new
versions; PYTHONPATH chooses which. The training also uses what goes beyond the paper
(donors, damage), under the names that `fakestormer recipe tiny` prints.

The exit status is 1 when a number differs from --against, and each difference is printed.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

VIDEOS, REAL_VIDEOS, STEPS = 20, 12, 50
SUFFIXES = frozenset({".avi", ".mkv", ".mov", ".mp4", ".mpg", ".webm"})

#: Small enough for minutes on one core.
SMALL = (
    "crop.stored_size=96",
    "model.image_size=64",
    "model.width=48",
    "training.batch_size=4",
    "training.clips_per_track=5",
    "training.validation_clips=1",
    "training.seed=3",
)
#: What goes beyond the paper; older versions have these names without "beyond.".
BEYOND = {
    "shift": 8,
    "resamplings": ["linear", "cubic"],
    "donor_probability": 0.4,
    "donor_changed_probability": 0.5,
    "donor_bent_probability": 0.5,
    "gradient_domain_probability": 0.3,
    "moved_real_probability": 0.3,
    "resolution_probability": 0.3,
    "sharpen_probability": 0.3,
    "noise_probability": 0.3,
    "h264_probability": 0.3,
}
#: Fields of a table of scores that hold numbers or decide them.
SCORE_FIELDS = ("data", "video", "label", "score", "raw", "tracks", "reason")


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("data", type=Path, help="folder with real/ and other folders of videos")
    options.add_argument("--out", type=Path, required=True, help="JSON to write")
    options.add_argument("--against", type=Path, help="JSON of another version to compare with")
    options.add_argument("--steps", type=int, default=STEPS, help="least steps of training")
    chosen = options.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        lay_out(chosen.data, work / "videos")
        numbers = {
            "detection": detection(work / "videos"),
            "training": training(work, chosen.steps),
            "evaluation": evaluation(work),
        }
    text = json.dumps(numbers, indent=1, sort_keys=True) + "\n"
    print(text, end="")
    chosen.out.write_text(text, encoding="utf-8")
    if chosen.against is not None:
        before = json.loads(chosen.against.read_text(encoding="utf-8"))
        different = list(differences(before, numbers))
        print("\n".join(different) or f"the same {count(numbers)} numbers", file=sys.stderr)
        sys.exit(1 if different else 0)


def lay_out(data: Path, videos: Path) -> None:
    """Links to the first real videos, of several folders' prefixes, and to others as fakes."""
    real = spread(files_in(data / "real"), REAL_VIDEOS)
    others = [
        file
        for folder in sorted(data.iterdir())
        if folder.is_dir() and not folder.name.startswith("real")
        for file in files_in(folder)
    ]
    for kind, files in (("real", real), ("fake", spread(others, VIDEOS - len(real)))):
        (videos / kind).mkdir(parents=True)
        for file in files:
            (videos / kind / file.name).symlink_to(file.resolve())


def files_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)


def spread(files: list[Path], number: int) -> list[Path]:
    """So many of the files, evenly over their order."""
    if len(files) < number:
        sys.exit(f"expected at least {number} videos, found {len(files)}")
    return [files[at * len(files) // number] for at in range(number)]


def command(*words: object) -> str:
    """What `fakestormer WORDS` prints."""
    ran = subprocess.run(
        [sys.executable, "-m", "fakestormer", *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if ran.returncode not in (0, 3):
        sys.exit(f"fakestormer {' '.join(map(str, words))}: exit status {ran.returncode}")
    return ran.stdout


def detection(videos: Path) -> dict[str, Any]:
    """Every number of every face, by video."""
    from fakestormer import Detector, NoFaceError
    from fakestormer.parallel.threads import use_threads

    use_threads(1)
    detector, numbers = Detector(), {}
    for file in sorted(videos.rglob("*.*")):
        name = file.relative_to(videos).as_posix()
        try:
            report = detector.detect(file, scene=False)
        except NoFaceError:
            numbers[name] = {"verdict": "no face"}
            continue
        numbers[name] = {
            "verdict": report.verdict,
            "probability": report.probability,
            "warnings": list(report.warnings),
            "faces": [
                {
                    "probability": face.prediction.probability,
                    "raw": face.prediction.raw,
                    "clips": face.prediction.clip_probabilities.tolist(),
                    "frames": listed(face.prediction.frame_probabilities),
                    "boxes": float(face.boxes.astype("float64").sum()),
                    "derivative": total(face.prediction.derivative),
                    "interval": listed(face.interval),
                    "reasons": [reason.code for reason in face.reasons],
                }
                for face in report.faces
            ],
        }
    return numbers


def listed(values: Any) -> Any:
    """An array or a tuple as JSON has it; None stays None."""
    if values is None:
        return None
    return list(values) if isinstance(values, tuple) else values.tolist()


def total(values: Any) -> float | None:
    return None if values is None else float(abs(values.astype("float64")).sum())


def training(work: Path, steps: int) -> list[dict[str, Any]]:
    """The lines of the run's history: losses of every step, and the validations."""
    inside = "beyond." if "beyond" in command("recipe", "tiny") else ""
    beyond = [f"synthesis.{inside}{name}={json.dumps(value)}" for name, value in BEYOND.items()]
    settings = [word for setting in (*SMALL, *beyond) for word in ("--set", setting)]
    held_out = sources_of(work / "videos" / "real")[-1]
    command(
        *("prepare", work / "videos" / "real", "--out", work / "train", "--recipe", "tiny"),
        *settings,
        *("--hold-out", held_out, "--max-frames", 48, "--workers", 0),
    )
    command(
        *("train", work / "train", "--out", work / "run", "--recipe", "tiny", *settings),
        *("--set", f"training.epochs={-(-steps // 20)}", "--workers", 0, "--accelerator", "cpu"),
    )
    lines = (work / "run" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    history = [json.loads(line) for line in lines]
    done = sum("total" in line for line in history)
    if done < steps:
        sys.exit(f"expected at least {steps} steps of training, got {done}")
    return history


def sources_of(folder: Path) -> list[str]:
    """Names up to the last underscore, as `fakestormer prepare` reads them."""
    return sorted({file.stem.rpartition("_")[0] for file in folder.iterdir()})


def evaluation(work: Path) -> dict[str, Any]:
    """All scores, and the metrics of all groups of videos."""
    from fakestormer import Detector

    recipe = Detector().recipe
    crop = [
        word
        for name, value in recipe.crop.model_dump(mode="json").items()
        for word in ("--set", f"crop.{name}={json.dumps(value)}")
    ]
    command(
        *("prepare", work / "videos", "--out", work / "test", "--split", "test", *crop),
        *("--max-frames", 64, "--workers", 0),
    )
    command(
        *("evaluate", "--data", f"videos={work / 'test'}", "--out", work / "evaluation"),
        *("--sampling", "all"),
    )
    document = json.loads((work / "evaluation" / "evaluation.json").read_text(encoding="utf-8"))
    with (work / "evaluation" / "scores.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    return {
        "scores": document["scores"],
        "results": {name: data["results"] for name, data in document["data"].items()},
        "table": [{k: v for k, v in row.items() if k in SCORE_FIELDS} for row in rows],
    }


def differences(before: Any, after: Any, name: str = "") -> Any:
    """A line for each value that differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            yield from differences(before.get(key), after.get(key), f"{name}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for at, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from differences(one, other, f"{name}[{at}]")
    elif before != after:
        yield f"{name.removeprefix('.')}: {before!r} before, {after!r} now"


def count(numbers: Any) -> int:
    """How many values there are."""
    if isinstance(numbers, dict):
        return sum(map(count, numbers.values()))
    return sum(map(count, numbers)) if isinstance(numbers, list) else 1


if __name__ == "__main__":
    main()
