"""The one template environment of all pages: reports, evaluations, and those of the server.

Text from strangers reaches a page through the templates' escaping only. All pages have one style,
`style.html.jinja` in this room.
"""

from __future__ import annotations

import jinja2

from fakestormer.detection.printable import shown


def template_environment(room: str) -> jinja2.Environment:
    """Templates of a room (a folder of the package) by their file names, then those of `report`.

    A variable that is not given is an error. The filter `shown` replaces what cannot be printed.
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
    environment.filters["shown"] = shown
    return environment
