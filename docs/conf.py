"""Sphinx's settings. ``python -m sphinx -W --keep-going docs build/docs`` builds the pages, with the extra ``docs``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "_extensions"))

from sphinx.ext import autosummary

import tinynet

# "(Maas et al. 2013, eq. 2)" is not the end of a sentence.
autosummary.WELL_KNOWN_ABBREVIATIONS += ("eq.", "eqs.")

project = "tinynet"
author = "The tinynet developers"
copyright = author
version = release = tinynet.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
    "formulas",
    "house",
    "mathml",
    "results",
]
exclude_patterns = ["_extensions", "_templates"]
templates_path = ["_templates"]

# Docstrings are in NumPy's format, which holds the types: signatures show names and defaults only.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
napoleon_google_docstring = False
# Words of a type such as "(n_samples, n_in) array" are no references.
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style")]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
# Every build runs the tutorial anew: what it shows is what this version computes.
nb_execution_mode = "force"
nb_execution_timeout = -1
nb_execution_raise_on_error = True
nb_merge_streams = True

html_theme = "pydata_sphinx_theme"
html_title = "tinynet"
html_static_path = ["_static"]
html_css_files = ["tinynet.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "tinynet"},
    "navbar_align": "left",
    "navbar_persistent": ["search-button"],
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "show_nav_level": 1,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "back_to_top_button": False,
}
# Pages that stand alone need no column of neighbours.
html_sidebars = {"index": [], "tutorial": [], "coming-from": [], "benchmarks": []}
