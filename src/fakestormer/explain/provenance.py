"""Content Credentials (C2PA): what a file says of its origin, signed, and whether that holds.

Needs the optional package c2pa-python (extra `provenance`); without it nothing is checked, and that
is said. Nothing is fetched: a manifest that lies elsewhere counts as none.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: By FFmpeg's name of the container, what the library calls it.
_KINDS = {"mov": "video/mp4", "mp4": "video/mp4", "avi": "video/x-msvideo"}
_OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
_MOST_PROBLEMS = 10

NOT_CHECKED = (
    "Not checked: the package c2pa-python is not installed, so whether the file carries Content "
    "Credentials is not known."
)


def content_credentials(file: Path, container: str) -> dict[str, Any]:
    """{"checked", "found"} and, where found, "state", "generator", "issuer", "time", "problems".

    state: "Trusted", "Valid" (signed and unchanged, by somebody not on a list) or "Invalid".
    problems: codes of what failed. container: `VideoInfo.container`. Of a file that the library
    cannot read, "error" says why.
    """
    try:
        c2pa = importlib.import_module("c2pa")
    except ImportError:
        return {"checked": False, "found": None, "reason": "not installed"}
    kind = next((_KINDS[name] for name in container.split(",") if name in _KINDS), None)
    if kind is None:
        return {"checked": False, "found": None, "reason": "container"}
    c2pa.load_settings(json.dumps(_OFFLINE))
    try:
        with file.open("rb") as stream, c2pa.Reader(kind, stream) as reader:
            store = json.loads(reader.json())
    except (c2pa.C2paError, OSError, ValueError) as error:
        if "ManifestNotFound" in f"{type(error).__name__} {error}":
            return {"checked": True, "found": False}
        return {"checked": True, "found": None, "error": str(error)[:200]}
    return {"checked": True, "found": True, **_told(store)}


def _told(store: Mapping[str, Any]) -> dict[str, Any]:
    manifest = store.get("manifests", {}).get(store.get("active_manifest"), {})
    signature = manifest.get("signature_info") or {}
    generators = manifest.get("claim_generator_info") or [{}]
    problems = [str(item.get("code")) for item in store.get("validation_status") or []]
    state = store.get("validation_state") or ("Invalid" if problems else "Valid")
    return {
        "state": str(state),
        "generator": generators[0].get("name") or manifest.get("claim_generator"),
        "issuer": signature.get("issuer"),
        "time": signature.get("time"),
        "problems": problems[:_MOST_PROBLEMS],
    }


def credentials_sentence(found: Mapping[str, Any] | None) -> str:
    """What a report says about them; of facts that know nothing of them, that nothing is known."""
    if not found or (not found.get("checked") and found.get("reason") != "container"):
        return NOT_CHECKED
    if not found["checked"]:
        return "Not checked: they are read from MP4, MOV and AVI files, and this is none."
    if found["found"] is None:
        return f"They could not be read: {found.get('error')}."
    if not found["found"]:
        return (
            "The file carries none. Most files do not, and sites often strip them: this says "
            "nothing about the video."
        )
    who = found.get("issuer") or "somebody unnamed"
    told = f"Signed by {who}" + (f" at {found['time']}" if found.get("time") else "")
    if found.get("generator"):
        told += f", made with {found['generator']}"
    holds = {
        "Trusted": "The signature holds, the file is unchanged since, and the signer is on the "
        "list of trusted ones.",
        "Valid": "The signature holds and the file is unchanged since; who the signer is was not "
        "checked against a list.",
    }.get(
        str(found.get("state")),
        "This does NOT hold: the file was changed after signing, or the signature is broken"
        + (f" ({', '.join(found['problems'])})" if found.get("problems") else "")
        + ".",
    )
    return f"{told}. {holds}"
