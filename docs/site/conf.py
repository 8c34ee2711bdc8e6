"""Sphinx's settings; `build.py` copies this file beside the pages."""

project = "daemonry"
author = "the authors of daemonry"
extensions = ["myst_parser", "sphinx.ext.graphviz"]
# Made when the site is built, so that a reader's browser fetches nothing.
graphviz_output_format = "svg"
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 6
html_theme = "furo"
html_title = "daemonry"
html_copy_source = True
html_show_sphinx = False
# Consoles with output, and fragments of code, are shown without colours where a lexer stumbles.
suppress_warnings = ["misc.highlighting_failure"]
pygments_style = "friendly"
