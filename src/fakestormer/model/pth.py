"""Checkpoints that `torch.save` wrote, from strangers: tensors are read, code is never run."""

from __future__ import annotations

import pickle
import re
import struct
import warnings
from pathlib import Path

import torch

from fakestormer.errors import InputError

#: What torch.load raises on files that are no checkpoints, or damaged ones: seen by damaging some.
_DAMAGED = (
    pickle.UnpicklingError,
    struct.error,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AssertionError,
    AttributeError,
    OverflowError,
)


def read_pth(path: Path, *, wrappers: tuple[str, ...] = ()) -> dict[object, object]:
    """The dictionary in a `.pth` or `.bin` file.

    wrappers: keys under which training scripts put the network's state; of those that are there
    the inner dictionary is returned. A file that holds more than tensors and plain values is
    refused, and no code in it is run. Raises InputError for such a file, for one that is missing or
    damaged, and for one that holds no dictionary.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with warnings.catch_warnings():  # torch warns of programs, which it then refuses
            warnings.simplefilter("ignore", UserWarning)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        if "TorchScript" in str(error):
            raise InputError(
                f"{path}: is a program (TorchScript), and this program never runs code from a "
                "file; where you trust it, save its tensors by torch.save(torch.jit.load(FILE, "
                "map_location='cpu').state_dict(), OTHER_FILE)"
            ) from error
        stranger = re.search(r"GLOBAL ([\w.]+)", str(error))
        if stranger is None:
            raise InputError(
                f"{path}: not a readable checkpoint of tensors (damaged, or another kind of file); "
                "fetch it again"
            ) from error
        raise InputError(
            f"{path}: holds more than tensors ({stranger[1]}), and this program never runs code "
            "from a file; save the network's state_dict by itself where you trust the file"
        ) from error
    for wrapper in wrappers:
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict):
        raise InputError(f"{path}: expected a dictionary of tensors, found {type(state).__name__}")
    return state
