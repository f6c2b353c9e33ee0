"""The OpenAPI description: FastAPI's, and what FastAPI cannot know."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from fastapi import FastAPI

#: Where the description keeps the schema of a result: that of `fakestormer detect --json`.
RESULT_SCHEMA = "#/components/schemas/Result"

TAGS = [
    {"name": "jobs", "description": "Videos, and what was found in them"},
    {"name": "server", "description": "The server itself"},
]
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "the token that the server was started with; none where it has none",
}


def describe(app: FastAPI, *, token: bool) -> None:
    """Complete the description: the schema of results, and how clients send the token."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            description = generated()
            schemas = description["components"]["schemas"]
            schemas.update(_result_schemas())
            description["components"]["securitySchemes"] = {"token": _BEARER}
            description["security"] = [{"token": []}] if token else [{}, {"token": []}]
        assert app.openapi_schema is not None, "FastAPI keeps what it has generated"
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way


def _result_schemas() -> dict[str, Any]:
    """The parts of the published schema under names of their own: "result" -> "Result"."""
    text = (files("fakestormer") / "detection" / "results.schema.json").read_text(encoding="utf-8")
    parts = json.loads(text)["$defs"]
    for name in parts:
        text = text.replace(f'"#/$defs/{name}"', f'"#/components/schemas/{_named(name)}"')
    return {_named(name): part for name, part in json.loads(text)["$defs"].items()}


def _named(part: str) -> str:
    """# "result" -> "Result", "face" -> "ResultFace": nothing else has these names."""
    return "Result" if part == "result" else f"Result{part.title()}"
