"""The wheel and the source distribution work where no checkout is.

The source distribution is built without network, and a wheel from it; that wheel holds what one
built from the checkout holds, file by file. It is installed into a folder of its own, and run from
another folder with a HOME that may not be written to.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from fakestormer.faces import face_models

ROOT = Path(__file__).resolve().parents[1]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
#: No network, and with the build tools of this environment.
OFFLINE = ("--no-deps", "--no-index", "--no-build-isolation")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("face_backend_ready")]


def _run(*command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy: building leaves folders beside the sources."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(
        ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
    )
    return folder


def _content(wheel: Path) -> dict[str, bytes]:
    """But the list of hashes, which goes by the order of the files."""
    with zipfile.ZipFile(wheel) as files:
        names = [name for name in files.namelist() if not name.endswith("/RECORD")]
        return {name: files.read(name) for name in names}


def test_the_packages_detect_without_the_checkout(sources: Path, tmp_path: Path) -> None:
    pytest.importorskip("skimage", reason="scikit-image is needed for the test face")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    built, direct = tmp_path / "built", tmp_path / "direct"
    site, home = tmp_path / "site", tmp_path / "home"
    backend = "import sys; from setuptools import build_meta; build_meta.build_sdist(*sys.argv[1:])"
    _run(sys.executable, "-c", backend, built, cwd=sources)
    sdist, wheel = f"fakestormer-{version}.tar.gz", f"fakestormer-{version}-py3-none-any.whl"
    for source, folder in ((built / sdist, built), (sources, direct)):
        _run(*PIP, "wheel", *OFFLINE, "--wheel-dir", folder, source, cwd=tmp_path)
    assert _content(built / wheel) == _content(direct / wheel)
    _run(*PIP, "install", *OFFLINE, "--target", site, built / wheel, cwd=tmp_path)
    home.mkdir(mode=0o555)
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("XDG_")},
        "HOME": str(home),
        "PYTHONPATH": str(site),
        "PYTHONDONTWRITEBYTECODE": "1",
        "FAKESTORMER_CACHE": str(face_models.cache_folder()),
    }
    where = "import fakestormer; print(fakestormer.__file__)"
    assert Path(_run(sys.executable, "-c", where, cwd=tmp_path, env=env).strip()).is_relative_to(
        site
    )
    asked = _run(sys.executable, "-m", "fakestormer", "--version", cwd=tmp_path, env=env)
    assert asked == f"fakestormer {version}\n"
    printed = _run(sys.executable, ROOT / "tests" / "detect_a_film.py", cwd=tmp_path, env=env)
    assert printed.splitlines()[-1].startswith(f"fakestormer {version}: ")
    # A superuser may write into any folder, so this is looked at too.
    assert list(home.iterdir()) == []
