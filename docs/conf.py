"""Configuration of the documentation (Sphinx, MyST, furo): `make docs` builds it, with warnings as errors."""

import logging
from importlib.metadata import version as version_of

project = "Runledger"
author = "The Runledger authors"
copyright = "The Runledger authors"
release = version_of("runledger-pg")
version = release

# No intersphinx: the build needs no network.
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"Runledger {release}"


def _is_not_empty_glob(record: logging.LogRecord) -> bool:
    return getattr(record, "subtype", None) != "empty_glob"


# A section of the index may still be empty. `suppress_warnings` cannot say so: Sphinx gives this warning a
# subtype but no type.
logging.getLogger("sphinx.sphinx.directives.other").addFilter(_is_not_empty_glob)
