"""The authors' published weights -> a model like any other here.

    convert("authors.pth", "authors.safetensors")
    Detector("authors.safetensors").detect("interview.mp4")

Only tensors are read, never code: what else a `.pth` file can hold is refused.
"""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError

from fakestormer.errors import InputError
from fakestormer.model.model_file import save_model
from fakestormer.model.pth import read_pth
from fakestormer.model.release import ReleaseNetwork
from fakestormer.model.release_state import fitting, release_config
from fakestormer.recipe.named import release

LICENCE_NOTE = (
    "These weights are the work of the authors of FakeSTormer, who published them for academic use "
    "only. Their licence, not that of this program, holds for them and for this converted copy: "
    "read it before you use them or pass them on."
)

#: Where training scripts put the state of a network inside what they save.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
#: What DataParallel puts in front of every name.
_PARALLEL = "module."


def convert(source: str | Path, output: str | Path, *, heads: int | None = None) -> Path:
    """Read the authors' `.pth` and write a model: `.safetensors` and `.json`, or a folder of both.

    All sizes are taken from the weights, but the number of attention heads: `heads`, else D / 64 as
    in every ViT. The recipe is `release` around the released network, with the name "authors"; the
    licence note is kept in the JSON. Returns the path of the weights. Raises InputError for a file
    that is no checkpoint of tensors (nothing in it is ever run) and for wrong keys, all of which
    are named.
    """
    source, output = Path(source), Path(output)
    if output.is_dir() if output.suffix == ".safetensors" else output.is_file():
        raise InputError(
            f"{output}: cannot be the converted model, which is a .safetensors file or a folder; "
            "choose another name"
        )
    state = read_state(source)
    config = release_config(state, heads, str(source))
    network = ReleaseNetwork(config)
    network.load_state_dict(fitting(state, config, str(source)))
    recipe = release().model_copy(update={"name": "authors", "model": config})
    try:
        return save_model(
            output, network, recipe.model_dump(mode="json"), metrics={}, licence=LICENCE_NOTE
        )
    except (OSError, SafetensorError) as error:
        raise InputError(f"{output}: cannot be written ({error}); choose another place") from error


def read_state(path: Path) -> dict[str, object]:
    """The entries of the network's state in a `.pth` file, out of the usual wrappings."""
    entries: dict[str, object] = {}
    for key, value in read_pth(path, wrappers=_WRAPPERS).items():
        short = str(key).removeprefix(_PARALLEL)
        # Two keys that become one are kept apart, so that the second is named as unexpected.
        entries[short if short not in entries else str(key)] = value
    return entries
