"""MkDocs' hooks: the documents in the project's root become pages, and links lead to where these are.

Knows where documents are in the project and in the site. Must not know what is in them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
#: Documents outside docs/, and the names of their pages.
PAGES = {
    "README.md": "index.md",
    "SECURITY.md": "SECURITY.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "ARCHITECTURE.md": "ARCHITECTURE.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "openwrt/README.md": "openwrt-packages.md",
}
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)#\s]*)((?:#[^)]*)?\))")
_CODE = re.compile(r"(^```.*?^```|`[^`\n]*`|^(?: {4}|\t)[^\n]*$)", re.DOTALL | re.MULTILINE)


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages of `PAGES`."""
    from mkdocs.structure.files import File

    for path, page in PAGES.items():
        files.append(File.generated(config, page, content=(PROJECT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Links to other documents lead to their pages. What is no document (code, folders) is named, not linked."""
    sources = {name: path for path, name in PAGES.items()}
    source = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return with_links(markdown, source)


def with_links(markdown: str, source: str) -> str:
    """The text of the document `source` (its path in the project) with the links of its page."""
    folder = (PROJECT / source).parent

    def link(found: re.Match[str]) -> str:
        begin, target, end = found.groups()
        if not target or "://" in target or target.startswith("mailto:"):
            return found[0]
        path = (folder / target).resolve()
        name = str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else ""
        if name in PAGES:
            return f"{begin}{PAGES[name]}{end}"
        if name.startswith("docs/"):
            return f"{begin}{name.removeprefix('docs/')}{end}"
        return begin.lstrip("!").strip("[](") + f" (`{name}`)"

    parts = _CODE.split(markdown)
    return "".join(part if number % 2 else _LINK.sub(link, part) for number, part in enumerate(parts))
