"""How `make docs` builds the site: Markdown pages, and the API reference from docstrings.

Needs no network: fonts, scripts and the search index are part of the built pages.
"""

from __future__ import annotations

from typing import Any

import fakestormer

project = "FakeSTormer"
author = "The FakeSTormer engineers"
copyright = "2026, The FakeSTormer engineers. Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

# In docstrings, `name` is code, as in Markdown.
default_role = "code"
# Blocks of code without a language are commands.
highlight_language = "none"
autodoc_member_order = "bysource"
autodoc_class_signature = "separated"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
add_module_names = False
toc_object_entries = False

html_theme = "pydata_sphinx_theme"
html_title = "FakeSTormer"
html_show_sourcelink = False
# All pages beside every page: the theme's own list shows one section only.
html_sidebars = {"**": ["globaltoc.html"]}
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_align": "left",
    "navbar_center": [],
    "navbar_end": ["theme-switcher"],
    "footer_start": ["copyright"],
    "footer_end": [],
}

#: In reference/api.md, the line that the public names take the place of.
PUBLIC_NAMES = "<!-- public names -->"


def _list_public_names(app: Any, page: str, source: list[str]) -> None:
    """The API reference has every name of `fakestormer.__all__`, so it is never out of date."""
    if page == "reference/api":
        blocks = [_directive(name) for name in fakestormer.__all__ if not name.startswith("_")]
        source[0] = source[0].replace(PUBLIC_NAMES, "\n\n".join(blocks))


def _directive(name: str) -> str:
    value = getattr(fakestormer, name)
    kind = "autofunction"
    if isinstance(value, type):
        kind = "autoexception" if issubclass(value, Exception) else "autoclass"
    elif not callable(value):
        kind = "autodata"
    lines = [f".. {kind}:: fakestormer.{name}"]
    if kind == "autoclass":
        lines.append("   :members:")
    if kind in ("autoclass", "autoexception"):
        lines.append("   :exclude-members: __init__, __new__")
    directive = "\n".join(lines)
    return f"## {name}\n\n```{{eval-rst}}\n{directive}\n```"


def setup(app: Any) -> None:
    app.connect("source-read", _list_public_names)
