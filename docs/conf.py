"""How the documentation is built: ``sphinx-build -W --keep-going -b html docs OUT``."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

import agentphone_async  # noqa: E402 - it lies beside this folder

project = "agentphone-async"
author = "agentphone-async maintainers"
project_copyright = "2026, agentphone-async maintainers"
release = version = agentphone_async.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "catalog_schema",
    "click_options",
    "fields",
    "llms",
    "public_names",
]
exclude_patterns = ["_build", "_ext"]
default_role = "py:obj"  # docstrings name things in single backticks
highlight_language = "text"
smartquotes = False  # "--since" is not a dash and a word

myst_enable_extensions = ["colon_fence", "deflist", "attrs_block"]
myst_heading_anchors = 3

autodoc_class_signature = "mixed"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # fields are values' attributes; list them once, in the docstring
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"agentphone-async {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_copy_source = False
html_show_sphinx = False
templates_path: list[str] = []
