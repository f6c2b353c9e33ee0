"""docs/reproduce.md, command for command, on miniatures of the data sets."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from fakestormer.cli import ExitCode
from fakestormer.data.manifest import read_settings
from fakestormer.model.model_file import load_model
from miniature_material import SETS, call_for_all, material_of
from miniatures import build_miniature

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reproduce.md"
#: The folders that the page names, and the layouts of which they are miniatures.
FOLDERS = {
    "FaceForensics++": "ffpp", "Celeb-DF-v2": "celeb-df-v2", "DFDCP": "dfdcp", "DFDC": "dfdc",
    "WildDeepfake": "wilddeepfake",
}  # fmt: skip
#: One row of each table with many: those that share a network with others, for it is trained once.
ONLY = {
    "table1": "FakeSTormer_T4", "table3": "FakeSTormer", "table4": "FakeSTormer", "table5": "all",
    "table6": "CSP", "table7": "0.8/100/0.2", "table8": "standardise", "table9": "TimeSformer+SBV",
    "table11": "2",
}  # fmt: skip


def commands(page: str) -> list[list[str]]:
    """The words of every command of the page's shell blocks, in order."""
    blocks = re.findall(r"^```bash\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.strip()]


COMMANDS = commands(PAGE.read_text(encoding="utf-8"))


def test_the_first_paragraph_says_that_nothing_was_reproduced() -> None:
    first = PAGE.read_text(encoding="utf-8").split("\n\n")[1]
    assert first.startswith("**No number of the paper has been reproduced here.**")
    readme = (PAGE.parents[1] / "README.md").read_text(encoding="utf-8")
    assert "No number of the paper has\nbeen reproduced" in readme


def test_every_table_has_its_command() -> None:
    tables = [words[2] for words in COMMANDS if words[1] == "ablate"]
    wanted = {*(f"table{number}" for number in range(1, 12)), "table4-raw", "fig5"} - {"table10"}
    assert set(tables) == wanted


def _lay_out(folder: Path, request: pytest.FixtureRequest) -> None:
    """data/ with all data sets, and weights of MAE's layout that fit the small network."""
    material = material_of(request)
    for name, layout in FOLDERS.items():
        built = build_miniature(layout, folder / "built" / layout, material)
        (folder / "data").mkdir(exist_ok=True)
        shutil.move(built.root, folder / "data" / name)
        # The miniatures share their films, and nobody may be tested on what was trained on: an
        # empty box at its end makes a film another file.
        for film in (folder / "data" / name).rglob("*.mp4") if layout != "ffpp" else ():
            film.write_bytes(film.read_bytes() + (8).to_bytes(4, "big") + b"free")
    ffpp = folder / "data" / "FaceForensics++"
    dfd = build_miniature("dfd", folder / "built" / "dfd", material)
    shutil.copytree(dfd.root, ffpp, dirs_exist_ok=True)
    for broken in ("Face2Face", "NeuralTextures"):
        shutil.rmtree(ffpp / "manipulated_sequences" / broken)
    shutil.rmtree(ffpp / "manipulated_sequences" / "Deepfakes" / "c40", ignore_errors=True)
    for c23 in list(ffpp.glob("*/*/c23")):
        for level in ("raw", "c40"):
            shutil.copytree(c23, c23.with_name(level), dirs_exist_ok=True)
    torch.save({"model": _small_mae()}, folder / "mae_pretrain_vit_base.pth")


def _small_mae(width: int = 16) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, width), "pos_embed": (1, 17, width),
        "patch_embed.proj.weight": (width, 3, 8, 8), "patch_embed.proj.bias": (width,),
        "norm.weight": (width,), "norm.bias": (width,),
    }  # fmt: skip
    for name, shape in {
        "norm1": (width,), "norm2": (width,), "attn.qkv": (3 * width, width),
        "attn.proj": (width, width), "mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width),
    }.items():  # fmt: skip
        shapes[f"blocks.0.{name}.weight"] = shape
        shapes[f"blocks.0.{name}.bias"] = shape[:1]
    return {k: 0.1 * torch.randn(shape, generator=generator) for k, shape in shapes.items()}


def _in_small(words: list[str]) -> list[str]:
    """The same command for a network of seconds: small sizes, one row, processes of its own."""
    name, *rest = words[1:]
    if "--workers" in rest:
        rest[rest.index("--workers") + 1] = "0"
    if "--devices" in rest:  # GPUs
        rest[rest.index("--devices") + 1] = "1"
    if "--recipe" in rest:
        rest += [word for setting in SETS for word in ("--set", setting)]
    if name == "prepare" and "--check" not in rest:
        rest += ["--workers", "0"]
    if name == "ablate":
        rest += ["--accelerator", "cpu"]
        if rest[0] in ONLY:
            rest += ["--only", ONLY[rest[0]]]
        if (
            rest[0] == "fig5"
        ):  # 30 corruptions of whole films; tests/tools/ablation runs it on crops
            rest += ["--plan"]
    if name == "train":
        rest += ["--accelerator", "cpu"]
    return [name, *rest]


@pytest.mark.slow
@pytest.mark.usefixtures("no_plots")
def test_every_command_of_the_page_runs(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lay_out(tmp_path, request)
    monkeypatch.chdir(tmp_path)
    # Not here: what needs a network and is done before any test.
    assert COMMANDS[0][:2] == ["pip", "install"]
    assert COMMANDS[1] == ["fakestormer", "setup"]
    for words in COMMANDS[2:]:
        assert words[0] == "fakestormer"
        code, printed, err = call_for_all(_in_small(words))
        # Some miniatures hold a damaged video, which must not stop anybody.
        fine = (ExitCode.DONE, ExitCode.SOME_FAILED)
        assert code in fine, f"{shlex.join(words)}\n{err}\n{printed}"
        if words[1] == "ablate" and "--plan" in words:
            assert "hours of training on this machine" in printed
            assert not Path("ablations").exists()
    for table in {*ONLY, "table2", "table4-raw"}:
        document = json.loads(Path("ablations", f"{table}.json").read_text())
        (row,) = document["rows"]
        assert row["cells"]["Avg"]["auc"] is not None, table
        assert document["training"]["dataset"] == "ffpp"
    # Frames by split, and what stands beside a model of c23.
    assert read_settings(Path("stores/ffpp-c23")).frames_in("train") == 256
    assert read_settings(Path("stores/ffpp-c23")).frames_in("validation") == 32
    _, document = load_model(Path("runs/paper"))
    assert document["trained_on"] == {"dataset": "ffpp", "compression": "c23"}
    evaluation = json.loads(Path("evaluations/paper/evaluation.json").read_text())
    tables = {name: [b["table"] for b in d["published"]] for name, d in evaluation["data"].items()}
    assert tables == {name: ["Table 1"] for name in ("CDF2", "DFD", "DFDCP", "DFDC", "DFW")}
