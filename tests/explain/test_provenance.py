"""Content Credentials, with a stand-in for the library: it is an optional package."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any, Self

import pytest

from fakestormer.explain.provenance import (
    NOT_CHECKED,
    content_credentials,
    credentials_sentence,
)

STORE = {
    "active_manifest": "urn:1",
    "manifests": {
        "urn:1": {
            "claim_generator_info": [{"name": "Camera 3", "version": "1"}],
            "signature_info": {"issuer": "Maker", "time": "2026-01-02T03:04:05+00:00"},
        }
    },
    "validation_state": "Trusted",
}


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """A module c2pa that answers `stub.answer`, or raises it."""
    state = types.SimpleNamespace(answer=STORE, settings=None, kind=None)

    class C2paError(Exception):
        pass

    class Reader:
        def __init__(self, kind: str, stream: Any) -> None:
            state.kind = kind
            if isinstance(state.answer, str):
                raise C2paError(state.answer)

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def json(self) -> str:
            return json.dumps(state.answer)

    module = types.ModuleType("c2pa")
    module.Reader, module.C2paError = Reader, C2paError  # type: ignore[attr-defined]
    module.load_settings = lambda text: setattr(state, "settings", json.loads(text))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "c2pa", module)
    return state


@pytest.fixture
def video(tmp_path: Path) -> Path:
    (file := tmp_path / "a.mp4").write_bytes(b"x")
    return file


def test_a_trusted_signature_is_told(stub: types.SimpleNamespace, video: Path) -> None:
    found = content_credentials(video, "mov,mp4,m4a,3gp,3g2,mj2")
    assert found == {
        "checked": True, "found": True, "state": "Trusted", "generator": "Camera 3",
        "issuer": "Maker", "time": "2026-01-02T03:04:05+00:00", "problems": [],
    }  # fmt: skip
    assert stub.kind == "video/mp4"
    assert stub.settings["verify"]["remote_manifest_fetch"] is False
    sentence = credentials_sentence(found)
    assert "Signed by Maker" in sentence
    assert "Camera 3" in sentence
    assert "trusted" in sentence


def test_a_broken_signature_is_told(stub: types.SimpleNamespace, video: Path) -> None:
    stub.answer = STORE | {
        "validation_state": "Invalid",
        "validation_status": [{"code": "assertion.dataHash.mismatch"}],
    }
    sentence = credentials_sentence(content_credentials(video, "mp4"))
    assert "does NOT hold" in sentence
    assert "assertion.dataHash.mismatch" in sentence
    # Older versions of the library name no state.
    del stub.answer["validation_state"]
    assert content_credentials(video, "mp4")["state"] == "Invalid"


def test_a_file_without_and_a_file_that_cannot_be_read(
    stub: types.SimpleNamespace, video: Path
) -> None:
    stub.answer = "ManifestNotFound: no JUMBF data found"
    found = content_credentials(video, "mp4")
    assert found == {"checked": True, "found": False}
    assert "carries none" in credentials_sentence(found)
    stub.answer = "InvalidAsset: box too large"
    found = content_credentials(video, "mp4")
    assert found["found"] is None
    assert "box too large" in credentials_sentence(found)
    assert "MP4, MOV and AVI" in credentials_sentence(content_credentials(video, "matroska,webm"))


def test_without_the_library_it_says_so(monkeypatch: pytest.MonkeyPatch, video: Path) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    found = content_credentials(video, "mp4")
    assert (found["checked"], found["found"]) == (False, None)
    assert credentials_sentence(found) == credentials_sentence(None) == NOT_CHECKED
