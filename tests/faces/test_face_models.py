"""`setup`: from a wheel given or downloaded, verified, atomic, once."""

from __future__ import annotations

import subprocess
import zipfile

import pytest

from fakestormer.errors import InputError, SetupError
from fakestormer.faces import face_models
from fakestormer.faces.face_models import DETECTOR, LICENCE_IN_WHEEL, MESH
from fakestormer.faces.open import open_backend


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder of this test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("FAKESTORMER_CACHE", str(folder))
    return folder


@pytest.fixture
def stand_in(monkeypatch):
    """Small contents whose SHA-256 are taken for the right ones."""
    import hashlib

    content = {DETECTOR.in_wheel: b"a detector", MESH.in_wheel: b"a mesh"}
    for name, file in (("DETECTOR", DETECTOR), ("MESH", MESH)):
        sha256 = hashlib.sha256(content[file.in_wheel]).hexdigest()
        monkeypatch.setattr(face_models, name, face_models.ModelFile(file.in_wheel, sha256))
    return content


def wheel_of(path, content, licence=True):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
        if licence:
            archive.writestr(LICENCE_IN_WHEEL, "Apache License")
    return path


def test_setup_from_a_wheel_extracts_verifies_and_is_idempotent(cache, stand_in, tmp_path):
    assert not face_models.models_present()
    said = []
    face_models.setup(wheel_of(tmp_path / "m.whl", stand_in), on_progress=said.append)

    detector, mesh = face_models.model_paths()
    assert detector.read_bytes() == b"a detector"
    assert mesh.read_bytes() == b"a mesh"
    assert sorted(path.name for path in cache.iterdir()) == sorted(
        [DETECTOR.name, MESH.name, "LICENSE.mediapipe"]
    )
    assert face_models.models_present()
    assert "SHA-256 verified" in said[-1]
    # Nothing is needed any more: neither the wheel nor pip.
    face_models.setup(tmp_path / "gone.whl", on_progress=said.append)
    assert "already" in said[-1]


def test_altered_models_are_refused_and_nothing_is_left(cache, stand_in, tmp_path):
    stand_in[MESH.in_wheel] = b"another mesh"
    with pytest.raises(InputError, match=r"face_landmark\.tflite has SHA-256 .* expected"):
        face_models.setup(wheel_of(tmp_path / "m.whl", stand_in))
    assert not cache.exists()


@pytest.mark.parametrize("what", ["missing", "no zip", "another wheel"])
def test_what_is_not_the_wheel_is_refused(what, cache, stand_in, tmp_path):
    path = tmp_path / "m.whl"
    if what == "no zip":
        path.write_text("hello")
    elif what == "another wheel":
        wheel_of(path, {"other.txt": b""})
    with pytest.raises(InputError, match=r"m\.whl: (no such file|not the mediapipe)"):
        face_models.setup(path)


def test_a_damaged_model_in_the_cache_is_noticed_and_repaired(cache, stand_in, tmp_path):
    wheel = wheel_of(tmp_path / "m.whl", stand_in)
    face_models.setup(wheel)
    _, mesh = face_models.model_paths()
    mesh.write_bytes(b"bit rot")

    assert not face_models.models_present()
    with pytest.raises(SetupError, match="damaged"):
        face_models.model_paths()
    face_models.setup(wheel)
    assert mesh.read_bytes() == b"a mesh"


def test_download_uses_this_pythons_pip_and_removes_the_wheel(
    cache, stand_in, tmp_path, monkeypatch
):
    calls = []

    def pip(command, **_):
        calls.append(command)
        folder = command[command.index("--dest") + 1]
        wheel_of(f"{folder}/mediapipe-0.10.14-any.whl", stand_in)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    face_models.setup()

    assert calls[0][1:4] == ["-m", "pip", "download"]
    assert "mediapipe==0.10.14" in calls[0]
    assert "--no-deps" in calls[0]
    assert face_models.models_present()


def test_a_failed_download_is_one_sentence_with_a_way_out(cache, monkeypatch):
    def pip(command, **_):
        return subprocess.CompletedProcess(command, 1, "", "trying\nERROR: No route to host\n")

    monkeypatch.setattr(subprocess, "run", pip)
    with pytest.raises(SetupError, match=r"No route to host\): .* --wheel FILE") as caught:
        face_models.setup()
    assert "\n" not in str(caught.value)


def test_a_cache_that_cannot_be_written_is_said(stand_in, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FAKESTORMER_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(SetupError, match="FAKESTORMER_CACHE"):
        face_models.setup(wheel_of(tmp_path / "m.whl", stand_in))


def test_without_models_the_default_backend_says_the_command(cache):
    with pytest.raises(SetupError, match="run `fakestormer setup`"):
        open_backend("blazeface")
    with pytest.raises(ValueError, match="choose auto, blazeface or dlib"):
        open_backend("retina")  # type: ignore[arg-type]


def test_auto_falls_back_to_dlib_and_says_so_or_says_the_command(cache, monkeypatch):
    import importlib.util

    from fakestormer.faces import dlib as dlib_room

    present = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "dlib" else present(name)
    )
    with pytest.raises(SetupError, match="run `fakestormer setup`"):
        open_backend("auto")
    with pytest.raises(SetupError, match=r"fakestormer\[dlib\]"):
        open_backend("dlib")

    class StandIn:
        name = "dlib"

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(dlib_room, "DlibFaces", StandIn)
    with pytest.warns(UserWarning, match="using dlib"):
        assert open_backend("auto").name == "dlib"
