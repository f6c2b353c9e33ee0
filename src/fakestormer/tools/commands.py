"""Commands as functions: prepare, train, fit. The command line uses them too.

Each loads what it needs when it is called, so that an extra that is not installed is reported by
the function that needs it.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fakestormer.detection.printable import shown
from fakestormer.errors import InputError
from fakestormer.faces.open import BackendName
from fakestormer.files import writing
from fakestormer.recipe.named import tiny
from fakestormer.recipe.recipe import Recipe, override
from fakestormer.training.settings import TrainSettings
from fakestormer.video.objects import is_object, kept

if TYPE_CHECKING:
    from fakestormer.data.landmark_files import LandmarkFiles
    from fakestormer.data.manifest import Split
    from fakestormer.data.origin import Origin
    from fakestormer.data.prepare import Progress, Summary
    from fakestormer.training.loop import TrainingResult
    from fakestormer.training.surroundings import FittedSurroundings

log = logging.getLogger(__name__)

#: Rows of a table that are listed as unmatched; the count has all.
_LISTED = 50

#: The share of a folder's videos that `train` holds out where no source is held out.
HELD_OUT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareSettings:
    """How `prepare` labels videos and works on them.

    hold_out: sources that are held out for validation, as a whole. validation_fraction: the share
    of the other videos that is held out. table: a CSV about the videos: path, and source, identity,
    split, label or method. split: of the videos of which the table says nothing. splits: do only
    videos of these splits; empty does all. max_frames: of each video, from its beginning; 0 takes
    all, None as many as is usual for the data set: 256, and of FF++ and what was made from it 256
    to train, 32 to validate and 32 to test. stream: the number of the video stream of each file;
    None takes the one that players show. faces: the face backend's name. landmarks: a file or
    folder of faces that were found elsewhere (docs/datasets.md), instead of a backend;
    landmarks_by: who found them. workers: processes; 0 works in this one. cluster: the address of a
    Ray cluster that does the work instead.
    """

    hold_out: tuple[str, ...] = ()
    validation_fraction: float = 0.0
    table: str | Path | None = None
    split: Split | None = None
    splits: tuple[Split, ...] = ()
    max_frames: int | None = None
    stream: int | None = None
    faces: BackendName = "auto"
    landmarks: str | Path | None = None
    landmarks_by: str = ""
    workers: int = 0
    cluster: str | None = None


def prepare(
    videos: str | Path | Origin,
    store: str | Path,
    *,
    recipe: Recipe | None = None,
    settings: PrepareSettings | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Follow the faces of many videos and store their crops, for training or evaluation.

    The same call goes on where an earlier one was stopped. Videos that cannot be used are in the
    store's manifest, with the reason.

    Args:
        videos: a folder of videos, or its address in an object store, s3://BUCKET/FOLDER; they are
            real unless the table or a folder named "fake" says otherwise. Or an Origin, which
            names a data set's layout and the folder it lies in.
        store: the folder to write, or its address in an object store.
        recipe: how faces are followed and cropped; None takes that of the weights that come with
            the package. `load_recipe("RUN")` is that of another model.
        settings: labels, splits and processes.
        progress: called when a video is finished.

    Returns:
        What the store holds now.

    Raises:
        InputError: there are no videos, a source that is held out does not exist, the store was
            begun with other settings or cannot be written, or another process is writing to it.
        SetupError: the face models or Ray are not installed.
    """
    # Only here: preparing locks files in a way that some systems lack.
    from fakestormer.data.layouts.options import Options
    from fakestormer.data.manifest import Labelling
    from fakestormer.data.origin import Origin, root_of
    from fakestormer.data.prepare import prepare_listing
    from fakestormer.data.table import match_table
    from fakestormer.model.document import recipe_of_shipped

    recipe, settings = recipe or recipe_of_shipped(), settings or PrepareSettings()
    if isinstance(videos, str | Path):
        videos = Origin(layout="folder", root=root_of(videos), options=Options())
    # The whole data set, whatever part of it is asked for: the manifest keeps what is finished.
    methods = videos.options.methods
    whole = dataclasses.replace(
        videos.options, methods=(), store=None if is_object(store) else Path(store)
    )
    origin = dataclasses.replace(videos, options=whole, labels=_labels(settings, methods))
    listing = origin.listing()
    matched = None
    if settings.table is not None:
        names = [entry.video for entry in listing.entries]
        table = Path(settings.table)
        # Of objects a table says where they are below their address.
        videos_in = table.parent if isinstance(origin.root, str) else origin.root
        matched = match_table(table, videos_in, names)
    labelling = Labelling(
        validation_sources=frozenset(settings.hold_out),
        validation_fraction=settings.validation_fraction,
        seed=recipe.training.seed,
        split=settings.split,
        table={} if matched is None else matched.columns,
    )
    differing = (listing.missing, listing.unexpected, listing.doubled, listing.conflicts)
    if differences := sum(len(names) for names in differing):
        log.warning(
            "%s: %d differences from the data set's lists; --check names them",
            shown(origin.root), differences,
        )  # fmt: skip
    asked = settings.max_frames
    frames = listing.max_frames if asked is None else asked or None
    with kept(store) as place:
        with writing(place.folder):
            place.folder.mkdir(parents=True, exist_ok=True)
        summary = prepare_listing(
            listing,
            place.folder,
            tracks=place.address,
            backend=_faces_of(settings),
            crop=recipe.crop,
            tracking=recipe.tracking,
            workers=settings.workers,
            cluster=settings.cluster,
            max_frames=frames,
            min_frames=recipe.model.frames,
            stream=settings.stream,
            splits=settings.splits,
            methods=methods,
            labelling=labelling,
            origin=origin,
            progress=place.beside(progress),
        )
    unmatched = () if matched is None else matched.unmatched
    for line in unmatched[:_LISTED]:
        log.warning("%s: %s: is about no video here", settings.table, shown(line))
    if unmatched:
        log.warning("%s: %d rows are about no video here", settings.table, len(unmatched))
    return dataclasses.replace(summary, unmatched=len(unmatched))


def _labels(settings: PrepareSettings, methods: tuple[str, ...]) -> tuple[str, ...]:
    """The words of the command line that say the same about labels and splits."""
    words = [word for source in settings.hold_out for word in ("--hold-out", source)]
    if settings.validation_fraction:
        words += ["--validation-fraction", str(settings.validation_fraction)]
    if settings.table is not None:
        words += ["--table", str(Path(settings.table).resolve())]
    if settings.split is not None:
        words += ["--split", settings.split]
    if settings.landmarks is not None:
        words += ["--landmarks", str(Path(settings.landmarks).resolve())]
        words += ["--landmarks-by", settings.landmarks_by] if settings.landmarks_by else []
    words += [word for split in settings.splits for word in ("--only", split)]
    words += [word for method in methods for word in ("--method", method)]
    return tuple(words)


def _faces_of(settings: PrepareSettings) -> BackendName | Callable[[], LandmarkFiles]:
    from fakestormer.data.landmark_files import LandmarkFiles

    if settings.landmarks is None:
        return settings.faces
    if not Path(settings.landmarks).exists():
        raise InputError(f"{settings.landmarks}: no such file or folder of landmarks")
    return partial(LandmarkFiles, Path(settings.landmarks).resolve(), settings.landmarks_by)


def is_store(folder: str | Path) -> bool:
    """Whether `prepare` has written this folder."""
    return (Path(folder) / "store.json").is_file()


def train(
    data: str | Path,
    out: str | Path,
    *,
    recipe: Recipe | None = None,
    settings: TrainSettings | None = None,
    preparation: PrepareSettings | None = None,
    prepare_with: Callable[..., Summary] = prepare,
) -> TrainingResult:
    """Train a model on real videos: every clip is paired with its self-blended pseudo-fake.

    Ctrl-C finishes the step, saves, and raises KeyboardInterrupt.

    Args:
        data: a store that `prepare` has written, or a folder of real videos, which is prepared into
            OUT/store first.
        out: the folder of the run: the model, its checkpoints and its logs.
        recipe: everything that the model depends on; None takes `load_recipe("tiny")`.
        settings: what the training starts from and runs on.
        preparation: for a folder of videos; None holds out a tenth of them.
        prepare_with: prepares a folder of videos, with the arguments of `prepare`.

    Returns:
        The path of the model that did best on the held-out videos, and its metrics.

    Raises:
        InputError: there are too few videos, none is held out, or the folder holds another run.
        SetupError: the extra `train` or the face models are not installed.
        TrainingError: a loss or a gradient is no finite number.
    """
    from fakestormer.training.loop import train as train_on_store

    recipe, settings = recipe or tiny(), settings or TrainSettings()
    store, out = Path(data), Path(out)
    if is_store(store):
        if preparation is not None:
            raise InputError(f"{data}: is a prepared store; its split was fixed by `prepare`")
    elif settings.num_nodes > 1:
        raise InputError(
            f"{data}: is no prepared store; for several machines call `prepare` first, into a "
            "folder that all of them see"
        )
    else:
        how = preparation or PrepareSettings(validation_fraction=HELD_OUT)
        store = out / "store"
        prepare_with(data, store, recipe=recipe, settings=how)
    return train_on_store(recipe, store, out, settings)


def fit(
    model: str | Path | None,
    store: str | Path,
    out: str | Path,
    *,
    pairs: int = 14400,
    ridge: float = 0.5,
    seed: int = 0,
    assignments: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
) -> FittedSurroundings:
    """Set f of a model in closed form: what sets a blended face apart from its surroundings.

    It takes the place of the trained f; other heads stay. It looks through ImageNet's layers, which
    the extra `pretrained` brings.

    Args:
        model: a `.safetensors` file or the folder of a model; None takes the weights that ship.
        store: a store of real videos that `prepare` has written for this model.
        out: the folder of the fitted model.
        pairs: real frames, each with its pseudo-fake.
        ridge: the larger, the simpler the fit.
        seed: draws frames and blending.
        assignments: "synthesis.FIELD=VALUE", where pairs differ from those of training.
        progress: called with the number of pairs done.

    Returns:
        What it was fitted to, and its AUC on groups of videos left out of a fit.

    Raises:
        InputError: other patches than of 16 px, too few training videos, another model's store, or
            an assignment outside synthesis.
        SetupError: ImageNet's weights are not installed.
    """
    from fakestormer.data.manifest import read_manifest
    from fakestormer.data.remake import require_crops
    from fakestormer.model.document import recipe_of, weights_file
    from fakestormer.model.model_file import load_model, save_model
    from fakestormer.training.surroundings import fit_surroundings, with_surroundings

    if others := [a for a in assignments if not a.startswith("synthesis.")]:
        raise InputError(f"--set {others[0]}: a fit takes settings of synthesis alone")
    weights, store = weights_file(model), Path(store)
    network, document = load_model(weights)
    network, recipe = with_surroundings(network, recipe_of(document, weights))
    require_crops(store, recipe.crop, recipe.tracking)
    fitted = fit_surroundings(
        network, override(recipe, assignments), store, read_manifest(store),
        pairs=pairs, ridge=ridge, seed=seed, progress=progress,
    )  # fmt: skip
    about = {"ridge": ridge, "seed": seed, "assignments": list(assignments)}
    save_model(
        Path(out),
        network,
        recipe.model_dump(mode="json"),
        {"before_the_fit": document["metrics"], "surroundings": about | dataclasses.asdict(fitted)},
        face_backend=document.get("face_backend"),
        trained_on=document.get("trained_on"),
    )
    return fitted
