"""The documentation site: `make docs` builds it into build/docs, without a network, and a warning is an error."""

import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS / "_extensions"), str(DOCS.parent / "src")]

project = "skytrace"
author = "The skytrace developers"
copyright = author
language = "en"
smartquotes = False

extensions = ["myst_parser", "sphinx.ext.autodoc", "public_names", "pipeline_facts", "measured_numbers"]
exclude_patterns = ["results", "_extensions", "_static"]

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "pydata_sphinx_theme"
html_title = "skytrace"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_show_search_summary = False  # it would be fetched, which a browser refuses for files
html_copy_source = False
html_show_copyright = False
html_domain_indices = False
html_theme_options = {
    "logo": {"text": "skytrace"},
    "navigation_with_keys": False,
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 6,
    "show_prev_next": True,
    "show_toc_level": 1,
    "search_bar_text": "Search the documentation",
    "footer_start": [],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
