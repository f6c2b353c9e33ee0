"""The one template environment of all pages: reports, evaluations, and those of the server.

Text from strangers reaches a page through the templates' escaping only. All pages have one style,
`style.html.jinja` in this room.
"""

from __future__ import annotations

import base64
import functools
import hashlib

import jinja2

from fakestormer.detection.printable import face_name, shown
from fakestormer.drawing import timeline


@functools.cache  # compiling the templates takes longer than filling them
def template_environment(room: str) -> jinja2.Environment:
    """Templates of a room (a folder of the package) by their file names, then those of `report`.

    A variable that is not given is an error. The filter `shown` replaces what cannot be printed;
    `csp_hash` is what a content security policy calls an inline script that it allows.
    """
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("fakestormer", folder) for folder in (room, "report")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = (shown, face_name, timeline.height, timeline.span, timeline.time_code)
    environment.filters |= {function.__name__: function for function in filters} | {
        "csp_hash": _csp_hash
    }
    return environment


def _csp_hash(script: str) -> str:
    digest = hashlib.sha256(str(script).encode("utf-8")).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")
