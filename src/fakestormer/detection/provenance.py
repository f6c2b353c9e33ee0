"""Content Credentials (C2PA): the signed claims of a file about its origin, and whether they hold.

Needs the optional package c2pa-python (extra `provenance`); without it reports say that nothing was
checked. Nothing is fetched: credentials that a file only links to are not checked.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

#: By FFmpeg's name of the container, what the library calls it.
_KINDS = {"mov": "video/mp4", "mp4": "video/mp4", "avi": "video/x-msvideo"}
#: For the reader's context, because readers ignore the library's global settings, and by default
#: fetch any address that a file names.
_OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
_MOST_PROBLEMS, _MOST_SOURCES, _LONGEST = 10, 5, 200
#: The code for every signer, because there is no list of trusted signers here.
_UNLISTED = "signingCredential.untrusted"

#: The meaning of IPTC's digital source types, by the last part of their addresses.
_SOURCES = {
    "digitalCapture": "recorded by a camera",
    "computationalCapture": "recorded by a camera and computed from several pictures",
    "screenCapture": "recorded from a screen",
    "virtualRecording": "recorded from a virtual scene",
    "trainedAlgorithmicMedia": "made by generative AI",
    "compositeWithTrainedAlgorithmicMedia": "changed or composed with generative AI",
    "algorithmicMedia": "made by a program",
    "compositeSynthetic": "composed of parts of which some are synthetic",
    "composite": "composed of several parts",
    "compositeCapture": "composed of several recordings",
    "digitalCreation": "made by a person with a program",
    "humanEdits": "edited by a person",
}

NOT_CHECKED = (
    "Not checked: the package c2pa-python is not installed, so whether the file carries Content "
    "Credentials is not known."
)
_NOT_LOADED = (
    "Not checked: the package c2pa-python is installed but cannot be used here, so whether the "
    "file carries Content Credentials is not known. Version 0.38 or newer is needed."
)
_OTHER_CONTAINER = "Not checked: they are read from MP4, MOV and AVI files, and this is none."
_REMOTE = (
    "The file carries none itself; it names a place on the network where they lie. Nothing is "
    "fetched from there, so they were not checked."
)
_NONE = (
    "The file carries none. Most files do not, and sites often strip them: this says nothing about "
    "the video."
)
_HOLDS = {
    "Trusted": "The signature holds, the file is unchanged since, and the signer is on the list of "
    "trusted ones.",
    "Valid": "The signature holds and the file is unchanged since. Who signed was not checked "
    "against a list of known signers, and anybody can make a certificate in any name: the name "
    "alone proves nothing.",
}


def content_credentials(file: Path, container: str) -> dict[str, Any]:
    """{"checked", "found"} and, where found, "state", "generator", "sources", "issuer", "time",
    "problems".

    state: "Trusted", "Valid" (signed and unchanged, by somebody not on a list) or "Invalid".
    sources: digital source types that its manifests name. problems: codes of what failed.
    container: `VideoInfo.container`. What is not checked or found has a "reason", a file that the
    library cannot read an "error".
    """
    try:
        c2pa = importlib.import_module("c2pa")
    except ImportError:
        return {"checked": False, "found": None, "reason": "not installed"}
    except (OSError, RuntimeError):  # its native half is absent, or made for another system
        return {"checked": False, "found": None, "reason": "not loaded"}
    if not hasattr(c2pa, "Context"):  # too old to be kept from fetching
        return {"checked": False, "found": None, "reason": "not loaded"}
    kind = next((_KINDS[name] for name in container.split(",") if name in _KINDS), None)
    if kind is None:
        return {"checked": False, "found": None, "reason": "container"}
    offline = c2pa.Settings.from_dict(_OFFLINE)
    try:
        with (
            c2pa.Context(offline) as context,
            file.open("rb") as stream,
            c2pa.Reader(kind, stream, context=context) as reader,
        ):
            store = json.loads(reader.json())
    except (c2pa.C2paError, OSError, ValueError) as error:
        if str(error).startswith("ManifestNotFound"):
            return {"checked": True, "found": False}
        if str(error).startswith("Remote"):
            return {"checked": True, "found": None, "reason": "remote"}
        return {"checked": True, "found": None, "error": str(error)[:_LONGEST]}
    return {"checked": True, "found": True, **_claims(store)}


def _claims(store: Mapping[str, Any]) -> dict[str, Any]:
    manifests = store.get("manifests") or {}
    manifest = manifests.get(store.get("active_manifest")) or {}
    signature = manifest.get("signature_info") or {}
    generators = manifest.get("claim_generator_info") or [{}]
    problems = [str(item.get("code")) for item in store.get("validation_status") or []]
    # The library keeps them in an order of its own, and the report is to be the same each time.
    others = (manifests[label] for label in sorted(manifests) if manifests[label] is not manifest)
    sources = dict.fromkeys(name for one in (manifest, *others) for name in _source_types(one))
    return {
        "state": str(store.get("validation_state") or "Invalid"),
        "generator": _short(generators[0].get("name") or manifest.get("claim_generator")),
        "sources": list(sources)[:_MOST_SOURCES],
        "issuer": _short(signature.get("issuer")),
        "time": _short(signature.get("time")),
        "problems": problems[:_MOST_PROBLEMS],
    }


def _short(text: object) -> str | None:
    return None if text is None else str(text)[:_LONGEST]


def _source_types(manifest: Mapping[str, Any]) -> Iterator[str]:
    """ ".../digitalsourcetype/digitalCapture" of an action -> "digitalCapture"."""
    for assertion in manifest.get("assertions") or []:
        if str(assertion.get("label")).startswith("c2pa.actions"):
            for action in (assertion.get("data") or {}).get("actions") or []:
                if (name := action.get("digitalSourceType")) is not None:
                    yield str(name).rstrip("/").rpartition("/")[2][:_LONGEST]


def credentials_sentence(facts: Mapping[str, Any] | None) -> str:
    """The report's sentence about a file's credentials; facts: of `content_credentials`."""
    if not facts:
        return NOT_CHECKED
    if not facts["checked"]:
        reason = str(facts.get("reason"))
        return {"container": _OTHER_CONTAINER, "not loaded": _NOT_LOADED}.get(reason, NOT_CHECKED)
    if facts["found"] is None:
        if facts.get("reason") == "remote":
            return _REMOTE
        why = str(facts.get("error")).strip(" .:")
        return f"They cannot be read ({why}), so nothing that they may say counts."
    if not facts["found"]:
        return _NONE
    who = facts.get("issuer") or "somebody unnamed"
    text = f"Signed in the name of {who}" + (f" at {facts['time']}" if facts.get("time") else "")
    if facts.get("generator"):
        text += f", made with {facts['generator']}"
    if sources := facts.get("sources"):
        words = "; ".join(_SOURCES.get(name, name) for name in sources)
        text += f". They say that the video, or a part of it, was {words}"
    return f"{text}. {_HOLDS.get(str(facts.get('state')), '') or _broken(facts)}"


def _broken(facts: Mapping[str, Any]) -> str:
    codes = [code for code in facts.get("problems") or [] if code != _UNLISTED]
    if any(code.endswith(("ash.mismatch", "hashedURI.mismatch")) for code in codes):
        why = "the file was changed after it was signed"
    elif any(code.startswith("claimSignature.mismatch") for code in codes):
        why = "the signature does not belong to what it signs"
    elif any(code.startswith(("signingCredential", "claimSignature.outside")) for code in codes):
        why = "the signer's certificate cannot be accepted, or not for this time"
    else:
        why = "a check of them failed"
    listed = f" ({', '.join(codes)})" if codes else ""
    return f"This does NOT hold: {why}{listed}. Do not rely on anything that they say."
