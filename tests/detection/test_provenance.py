"""Content Credentials, signed here and now with the real library; skipped where it is absent.

Its certificates and keys are made for each run and forgotten with it.
"""

from __future__ import annotations

import datetime
import http.server
import json
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakestormer.detection import provenance
from fakestormer.detection.detector import Detector
from fakestormer.detection.provenance import NOT_CHECKED, content_credentials, credentials_sentence
from fakestormer.report.page import render_report
from fakestormer.video.decode import probe

MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"


@dataclass(frozen=True)
class Signed:
    """Signs films as "Test Newsroom", whose certificate a "Test Authority" made."""

    c2pa: Any
    chain: bytes
    key: bytes
    authority: str

    def film(
        self, source: Path, target: Path, *, origin: str = "digitalCapture", remote: str = ""
    ) -> Path:
        action = {"action": "c2pa.created", "digitalSourceType": SOURCE + origin}
        builder = self.c2pa.Builder(
            json.dumps(
                {
                    "claim_generator_info": [{"name": "Test Camera", "version": "1.0"}],
                    "assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}],
                }
            )
        )
        if remote:
            builder.set_no_embed()
            builder.set_remote_url(remote)
        signer = self.c2pa.Signer.from_info(
            self.c2pa.C2paSignerInfo("es256", self.chain, self.key, None)
        )
        with source.open("rb") as unsigned, target.open("w+b") as signed:
            builder.sign(signer, "video/mp4", unsigned, signed)
        return target


def certificates(valid: tuple[int, int]) -> tuple[bytes, bytes, str]:
    """(chain, key, authority) as PEM; valid: first and last day, counted from today."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    uses = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
        "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    made = []
    for index, name in enumerate(("Test Authority", "Test Newsroom")):
        first, last = (-4000, 4000) if index == 0 else valid
        used = {"key_cert_sign", "crl_sign"} if index == 0 else {"digital_signature"}
        names = [
            x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, n)])
            for n in (name, "Test Authority")
        ]
        builder = (
            x509.CertificateBuilder(names[1], names[0], keys[index].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=first))
            .not_valid_after(now + datetime.timedelta(days=last))
            .add_extension(x509.BasicConstraints(index == 0, 0 if index == 0 else None), True)
            .add_extension(x509.KeyUsage(**{use: use in used for use in uses}), True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()), False
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(keys[index].public_key()), False
            )
        )
        if index:
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(usage, False)
        signed = builder.sign(keys[0], hashes.SHA256())
        made.append(signed.public_bytes(serialization.Encoding.PEM))
    key = keys[1].private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return made[1] + made[0], key, made[0].decode()


@pytest.fixture(scope="module")
def signed() -> Signed:
    c2pa = pytest.importorskip("c2pa", reason="needs c2pa-python (extra provenance)")
    pytest.importorskip("cryptography", reason="needs cryptography, to make certificates")
    return Signed(c2pa, *certificates((-1, 30)))


@pytest.fixture
def video(make_video: Callable[..., Path], tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(8)]
    return make_video(noise, tmp_path / "a.mp4")


def changed(film: Path, target: Path, *, after: bytes, by: int) -> Path:
    """A copy with one byte changed, `by` bytes after the first `after`."""
    content = bytearray(film.read_bytes())
    content[content.index(after) + by] ^= 1
    target.write_bytes(content)
    return target


def test_signed_and_intact_by_somebody_on_no_list(
    signed: Signed, video: Path, tmp_path: Path
) -> None:
    film = signed.film(video, tmp_path / "signed.mp4")
    assert probe(film).container == MP4
    found = content_credentials(film, MP4)
    assert found == {
        "checked": True, "found": True, "state": "Valid", "generator": "Test Camera",
        "sources": ["digitalCapture"], "issuer": "Test Newsroom", "time": None,
        "problems": ["signingCredential.untrusted"],
    }  # fmt: skip
    sentence = credentials_sentence(found)
    assert "Signed in the name of Test Newsroom, made with Test Camera." in sentence
    assert "They say that the video, or a part of it, was recorded by a camera." in sentence
    assert "The signature holds and the file is unchanged since." in sentence
    assert "the name alone proves nothing" in sentence
    assert "trusted" not in sentence


def test_signed_by_somebody_on_a_list(
    signed: Signed, video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = signed.film(video, tmp_path / "signed.mp4")
    listed = provenance._OFFLINE | {"trust": {"trust_anchors": signed.authority}}
    monkeypatch.setattr(provenance, "_OFFLINE", listed)
    found = content_credentials(film, MP4)
    assert (found["state"], found["problems"]) == ("Trusted", [])
    assert "the signer is on the list of trusted ones" in credentials_sentence(found)


def test_changed_after_signing(signed: Signed, video: Path, tmp_path: Path) -> None:
    film = signed.film(video, tmp_path / "signed.mp4")
    altered = changed(film, tmp_path / "altered.mp4", after=b"mdat", by=2000)
    found = content_credentials(altered, MP4)
    assert found["state"] == "Invalid"
    sentence = credentials_sentence(found)
    assert "does NOT hold: the file was changed after it was signed" in sentence
    assert "(assertion.bmffHash.mismatch)" in sentence
    assert "signature holds" not in sentence


def test_credentials_themselves_changed(signed: Signed, video: Path, tmp_path: Path) -> None:
    film = signed.film(video, tmp_path / "signed.mp4")
    forged = changed(film, tmp_path / "forged.mp4", after=b"Test Camera", by=0)
    found = content_credentials(forged, MP4)
    assert (found["state"], found["generator"]) == ("Invalid", "Uest Camera")
    assert "the signature does not belong to what it signs" in credentials_sentence(found)


def test_a_certificate_out_of_date(signed: Signed, video: Path, tmp_path: Path) -> None:
    """The library signs with none, so that what its reader says of one is made up here."""
    found = {
        "checked": True, "found": True, "state": "Invalid", "issuer": "Maker", "generator": None,
        "time": None, "problems": ["signingCredential.untrusted", "signingCredential.expired"],
    }  # fmt: skip
    sentence = credentials_sentence(found)
    assert "the signer's certificate cannot be accepted" in sentence
    assert "changed after" not in sentence
    late = Signed(signed.c2pa, *certificates((-60, -30)))
    with pytest.raises(signed.c2pa.C2paError):
        late.film(video, tmp_path / "late.mp4")


def test_made_by_ai_is_told(signed: Signed, video: Path, tmp_path: Path) -> None:
    film = signed.film(video, tmp_path / "ai.mp4", origin="trainedAlgorithmicMedia")
    found = content_credentials(film, MP4)
    assert found["sources"] == ["trainedAlgorithmicMedia"]
    assert "was made by generative AI." in credentials_sentence(found)
    odd = signed.film(video, tmp_path / "odd.mp4", origin="somethingNew")
    assert "was somethingNew." in credentials_sentence(content_credentials(odd, MP4))


@pytest.mark.usefixtures("signed")
def test_a_file_without(video: Path) -> None:
    found = content_credentials(video, MP4)
    assert found == {"checked": True, "found": False}
    assert "carries none" in credentials_sentence(found)
    assert "MP4, MOV and AVI" in credentials_sentence(content_credentials(video, "matroska,webm"))


def test_credentials_that_cannot_be_read(signed: Signed, video: Path, tmp_path: Path) -> None:
    film = signed.film(video, tmp_path / "signed.mp4")
    torn = changed(film, tmp_path / "torn.mp4", after=b"jumdc2pa", by=0)
    found = content_credentials(torn, MP4)
    assert (found["checked"], found["found"]) == (True, None)
    assert found["error"]
    assert "nothing that they may say counts" in credentials_sentence(found)


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """(address, what was asked of it) of a server on this machine."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", paths
        server.shutdown()


def test_nothing_is_fetched(
    signed: Signed, video: Path, tmp_path: Path, asked: tuple[str, list[str]]
) -> None:
    address, paths = asked
    film = signed.film(video, tmp_path / "elsewhere.mp4", remote=f"{address}/manifest")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = content_credentials(film, MP4)
    assert found == {"checked": True, "found": None, "reason": "remote"}
    assert paths == []
    assert "Nothing is fetched from there" in credentials_sentence(found)
    # The library by itself would have asked: otherwise this test could not fail.
    with pytest.raises(signed.c2pa.C2paError), film.open("rb") as stream:
        signed.c2pa.Reader("video/mp4", stream)
    assert paths == ["/manifest"]


@pytest.mark.usefixtures("face_backend_ready")
def test_reports_of_signed_films_are_the_same_each_time(
    signed: Signed,
    astronaut_video: Callable[..., Path],
    untrained_model: Path,
    tmp_path: Path,
) -> None:
    plain = astronaut_video(tmp_path / "a.mp4")
    film = signed.film(plain, tmp_path / "signed.mp4", origin="trainedAlgorithmicMedia")
    altered = changed(film, tmp_path / "altered.mp4", after=b"trak", by=-90)
    date = datetime.date(2026, 11, 23)
    detector = Detector(untrained_model)
    pages = [render_report(detector.detect(film), date=date) for _ in range(2)]
    assert pages[0] == pages[1]
    assert "Signed in the name of Test Newsroom" in pages[0]
    assert pages[0].count("made by generative AI") == 2, "beside the verdict and in the record"
    assert "carries none" in render_report(detector.detect(plain), date=date)
    page = render_report(detector.detect(altered), date=date)
    assert "does NOT hold: the file was changed after it was signed" in page


def test_without_the_library_it_says_so(monkeypatch: pytest.MonkeyPatch, video: Path) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    found = content_credentials(video, MP4)
    assert (found["checked"], found["found"]) == (False, None)
    assert credentials_sentence(found) == credentials_sentence(None) == NOT_CHECKED


def test_with_a_library_too_old_to_be_kept_offline(
    monkeypatch: pytest.MonkeyPatch, video: Path
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", types.ModuleType("c2pa"))
    found = content_credentials(video, MP4)
    assert found == {"checked": False, "found": None, "reason": "not loaded"}
    assert "cannot be used here" in credentials_sentence(found)
