"""Reference files of the released network, shipped and of any other size, are checked in full."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from command_line import run
from fakestormer.cli import ExitCode
from fakestormer.errors import InputError
from fakestormer.tools.verify_release import verify_release
from release_reference import Sizes, write_reference


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    return lambda *arguments: run(list(arguments), monkeypatch, capfd)


def test_the_shipped_numbers_agree(
    shared_data: Path, cli: Callable[..., tuple[int, str, str]]
) -> None:
    file = shared_data / "reference" / "release_tiny.npz"
    code, out, err = cli("verify-release", file)
    assert (code, err) == (ExitCode.DONE, "")
    with np.load(file) as arrays:
        given = {n for n in arrays.files if not n.startswith("sd/") and n.rpartition("/")[2] != "x"}
    listed = {line.split()[0] for line in out.splitlines() if line.endswith("  ok")}
    assert {name for name in given if not name.startswith("loss/target")} <= {
        name.removesuffix(",") for name in listed
    }
    assert "3 heads" in out
    assert "not in the file" not in out
    assert "not compared" not in out
    assert f"all {out.count('  ok')} comparisons agree" in out


@pytest.mark.parametrize(
    ("sizes", "seed", "heads_from"),
    [
        (Sizes(image=48, width=64, frames=8, depth=3, heads=4, hidden=256), 11, "agrees"),
        (Sizes(image=24, width=40, frames=2, depth=1, heads=5, hidden=60), 12, "agrees"),
        (Sizes(image=32, patch=16, width=128, frames=16, depth=1, heads=2), 13, "agrees"),
        (Sizes(image=24, width=36, frames=3, depth=2, heads=2, hidden=72), 14, "agrees"),
    ],
    ids=["T=8", "T=2", "D/64 heads", "T=3, N=9"],
)
def test_files_of_other_sizes_agree(
    sizes: Sizes, seed: int, heads_from: str, tmp_path: Path
) -> None:
    write_reference(tmp_path / "other.npz", sizes, seed)
    done = verify_release(tmp_path / "other.npz")
    assert done.config.heads == sizes.heads
    assert heads_from in done.heads_from
    assert (done.absent, done.unknown) == ((), ())
    assert len(done.rows) > 60
    for row in done.rows:
        assert row.ok, row
    c = done.config
    assert (c.frames, c.depth, c.image_size) == (sizes.frames, sizes.depth, sizes.image)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    path = tmp_path_factory.mktemp("npz") / "other.npz"
    write_reference(path, Sizes(image=16, width=16, heads=2, depth=1, hidden=32), 21)
    with np.load(path) as file:
        return dict(file)


def saved(arrays: dict[str, np.ndarray], path: Path) -> Path:
    np.savez(path, **arrays)
    return path


def test_what_a_file_lacks_and_what_nobody_knows_is_said(
    other: dict[str, np.ndarray], cli: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    kept = {
        name: array
        for name, array in other.items()
        if name.startswith("sd/") or name in ("x", "out_cls", "f64/out_hm", "fixembed/out_hm")
    }
    path = saved(kept | {"odd/out_cls": kept["out_cls"], "mood": kept["x"]}, tmp_path / "a.npz")
    code, out, _ = cli("verify-release", path)
    assert code == ExitCode.DONE
    assert out.count("  ok") == 3
    assert "all 3 comparisons agree" in out
    (lacking,) = [line for line in out.splitlines() if line.startswith("not in the file: ")]
    for name in ("out_hm", "patch_embed", "f64/out_cls", "all of b2/", "all of loss/"):
        assert name in lacking
    assert "in the file and not compared: odd/out_cls, mood" in out


@pytest.mark.parametrize("name", ["out_hm", "f64/feat_cls", "b2/out_cls", "loss/hm", "block0_in"])
def test_a_number_that_differs_is_found(
    name: str,
    other: dict[str, np.ndarray],
    cli: Callable[..., tuple[int, str, str]],
    tmp_path: Path,
) -> None:
    changed = other[name].copy()
    changed.flat[-1] += 1e-3 if changed.dtype == np.float32 else 1e-8
    code, out, err = cli("verify-release", saved(other | {name: changed}, tmp_path / "a.npz"))
    assert code == ExitCode.ALL_FAILED
    assert out.count("NOT OK") == 1
    assert f"most of all {name}, by 1.0e-" in err
    assert len(err.strip().splitlines()) == 1


def test_not_a_number_and_another_shape_do_not_pass(
    other: dict[str, np.ndarray], tmp_path: Path
) -> None:
    for changed in (other["out_hm"] * np.nan, other["out_hm"] * np.inf, other["out_hm"][:, 0]):
        done = verify_release(saved(other | {"out_hm": changed}, tmp_path / "a.npz"))
        assert not done.worst.ok
        assert done.worst.name == "out_hm"


def test_heads_can_be_given_and_wrong_ones_show(
    other: dict[str, np.ndarray], tmp_path: Path
) -> None:
    path = saved(other, tmp_path / "a.npz")
    assert verify_release(path, heads=2).worst.ok
    done = verify_release(path, heads=4)
    assert done.heads_from == "as given"
    assert not done.worst.ok
    with pytest.raises(InputError, match="width 16 is not a multiple of heads 3"):
        verify_release(path, heads=3)


def without(arrays: dict[str, np.ndarray], *prefixes: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays.items() if not name.startswith(prefixes)}


def test_bad_files_get_one_sentence(
    other: dict[str, np.ndarray], cli: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    state = {name: array for name, array in other.items() if name.startswith("sd/")}
    cases = {
        "holds no sd/": without(other, "sd/"),
        "missing backbone.norm.bias": without(other, "sd/backbone.norm.bias"),
        "Object arrays": other | {"x": np.array([{}], dtype=object)},
        "nothing that it gave": state | {"x": other["x"], "b2/x": other["b2/x"]},
        "x has the shape (1, 3, 2, 16, 16)": other | {"x": other["x"][:, :, :2]},
        "loss/target_cls has the shape (2,)": other
        | {"loss/target_cls": other["loss/target_cls"][:, 0]},
        "can't convert": other | {"out_cls": np.array(["high"])},
    }
    for message, arrays in cases.items():
        path = saved(arrays, tmp_path / "a.npz")
        heads = ["--heads", "2"] if message.startswith("nothing") else []
        code, out, err = cli("verify-release", path, *heads)
        assert (code, out) == (ExitCode.ALL_FAILED, ""), message
        assert message in err
        assert str(path) in err
        assert len(err.strip().splitlines()) == 1
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "text.npz").write_text("text")
    (tmp_path / "empty.npz").write_bytes(b"")
    for name, message in (
        ("one.npy", "not a readable"),
        ("text.npz", "not a readable"),
        ("empty.npz", "not a readable"),
        ("none.npz", "no such file"),
    ):
        with pytest.raises(InputError, match=message):
            verify_release(tmp_path / name)


def test_a_state_alone_needs_heads(other: dict[str, np.ndarray], tmp_path: Path) -> None:
    path = saved({n: a for n, a in other.items() if n.startswith("sd/")}, tmp_path / "a.npz")
    with pytest.raises(InputError, match="nothing in it tells the number of attention heads"):
        verify_release(path)
