"""The links of the README lead somewhere; Sphinx, which checks those of the other pages, does not see it."""

from __future__ import annotations

import re

from tests.docs.pages import DOCS, ROOT

_LINK = re.compile(r"\]\((?P<path>[^)#:]+)(#(?P<heading>[^)]+))?\)")


def test_relative_links_of_the_readme_lead_to_files_and_headings() -> None:
    links = list(_LINK.finditer((ROOT / "README.md").read_text(encoding="utf-8")))
    assert links
    for link in links:
        target = ROOT / link["path"]
        assert target.exists(), link[0]
        if link["heading"]:
            assert link["heading"] in _headings(target.read_text(encoding="utf-8")), link[0]


def test_the_readme_leads_to_every_page_of_the_documentation() -> None:
    linked = {link["path"] for link in _LINK.finditer((ROOT / "README.md").read_text(encoding="utf-8"))}
    pages = {page.relative_to(ROOT).as_posix() for page in DOCS.rglob("*.md") if page.parent.name != "decisions"}
    assert pages - linked == {"docs/index.md"}


def _headings(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page, as far as ours need."""
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    }
