"""Sphinx's settings for the documentation site: `nox -s docs` builds it.

The pages are Markdown that reads on a repository's web page as well. What only the site needs is
added here, while a page is read: the table of contents, the pages that are files of the project's
top folder, charts in a light and a dark version, and links to files outside of this folder. The
API reference is made from the package's docstrings and stubs, so building the site needs a built
ferroloop.
"""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path
from typing import Any

import tomllib

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
PACKAGE = ROOT / "python" / "ferroloop"
sys.path.insert(0, str(ROOT / "python"))

_metadata = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = _metadata.get("urls", {}).get("Source", "").rstrip("/")
"""Where the project's files can be seen; empty while it is not published."""

project = "ferroloop"
author = "the ferroloop contributors"
release = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))["package"]["version"]
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "index"
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 3
nitpicky = False  # types of asyncio have no page here to link to

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True

html_theme = "furo"
pygments_dark_style = "github-dark"  # the default underlines modules like links
html_title = f"ferroloop {release}"
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_show_copyright = False
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options: dict[str, Any] = {
    "light_css_variables": {"color-brand-primary": "#a83a12", "color-brand-content": "#a83a12"},
    "dark_css_variables": {"color-brand-primary": "#ff9d76", "color-brand-content": "#ff9d76"},
}
if REPOSITORY:
    html_theme_options |= {
        "source_repository": REPOSITORY,
        "source_branch": "main",
        "source_directory": "docs/",
    }

INCLUDED = {
    "contributing": "CONTRIBUTING.md",
    "changelog": "CHANGELOG.md",
    "security": "SECURITY.md",
}
"""Pages of the site whose text is a file of the top folder."""

_TOPICS = ("streams", "tls", "timers", "sockets", "processes", "introspection", "calls")

CONTENTS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "index": (
        (
            "Use it",
            (
                "servers",
                "testing",
                "guides/moving-from-uvloop",
                "guides/which-loop",
                "guides/threads-and-processes",
                "guides/containers",
            ),
        ),
        (
            "Look inside",
            (
                "guides/finding-what-blocks-the-loop",
                "guides/figures-in-production",
                "guides/debuggers-and-profilers",
            ),
        ),
        ("Reference", ("compatibility", "performance", "api", "support", "security", "changelog")),
        ("Work on it", ("architecture", "decisions/README", "contributing")),
    ),
    "servers": (("", ("servers/*",)),),
    "testing": (("", ("testing/*",)),),
    "compatibility": (("", (*(f"compatibility/{name}" for name in _TOPICS),)),),
    "performance": (("", ("results/3.14", "results/*")),),
    "api": (("", ("api/running", "api/loop", "api/monitor", "api/streams")),),
    "decisions/README": (("", ("decisions/*",)),),
}
"""For each page with pages below it: groups of these, each with its caption."""

_FENCED = re.compile(r"(^```.*?^```[^\n]*$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_PICTURE = re.compile(
    r'<picture>.*?srcset="([^"]+)".*?alt="([^"]*)" src="([^"]+)".*?</picture>', re.DOTALL
)


def _contents(page: str) -> str:
    """The table of contents of a page, which the site shows in its sidebar only."""
    parts = []
    for caption, entries in CONTENTS.get(page, ()):
        found = [
            "/" + path.relative_to(DOCS).as_posix().removesuffix(".md")
            for entry in entries
            for path in sorted(DOCS.glob(f"{entry}.md"))
        ]
        names = "\n".join(name for name in dict.fromkeys(found) if name != f"/{page}")
        title = f":caption: {caption}\n" if caption else ""
        parts.append(f"\n```{{toctree}}\n:hidden:\n{title}\n{names}\n```\n")
    return "".join(parts)


def _link(base: Path, page: Path, text: str, target: str) -> str:
    """A link as the site needs it: `base` is the folder of the text, `page` that of the page."""
    name, mark, place = target.partition("#")
    if "://" in target or not name:
        return f"[{text}]({target})"
    path = (base / name).resolve()
    for included, file in INCLUDED.items():
        if path == ROOT / file:
            path = DOCS / f"{included}.md"
    if path == ROOT / "README.md":
        path = DOCS / "index.md"
    if path.is_relative_to(DOCS) and path.suffix:
        text = _title(path) if text.endswith(".md") else text
        return f"[{text}]({os.path.relpath(path, page)}{mark}{place})"
    if REPOSITORY:
        kind = "tree" if path.is_dir() else "blob"
        return f"[{text}]({REPOSITORY}/{kind}/main/{path.relative_to(ROOT)}{mark}{place})"
    if path.is_file():
        return f"{{download}}`{text.strip('`')} <{os.path.relpath(path, page)}>`"
    return text if "`" in text or "/" not in text else f"`{text}`"


def _title(page: Path) -> str:
    """A page's heading: on the site, pages have no file names."""
    path = ROOT / INCLUDED.get(page.stem, str(page))
    return path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def _chart(match: re.Match[str]) -> str:
    """A picture in both themes, in a box that scrolls where the picture could not be read."""
    dark, text, light = match.groups()
    images = "".join(
        f"```{{image}} {file}\n:alt: {text}\n:class: only-{name}\n```\n\n"
        for name, file in (("light", light), ("dark", dark))
    )
    return f"````{{container}} picture\n{images}````\n"


def _read(_app: Any, page: str, source: list[str]) -> None:
    """Make the site's text of a page from the file's."""
    text, base = source[0], (DOCS / page).parent
    if page in INCLUDED:
        text, base = (ROOT / INCLUDED[page]).read_text(encoding="utf-8"), ROOT
    here = (DOCS / page).parent

    def link(match: re.Match[str]) -> str:
        return _link(base, here, match[1], match[2])

    pieces = _FENCED.split(text)
    pieces[::2] = [_PICTURE.sub(_chart, _LINK.sub(link, piece)) for piece in pieces[::2]]
    source[0] = "".join(pieces) + _contents(page)


def _stub_signatures() -> dict[str, str]:
    """Parameters and result of the methods that the stubs declare once."""
    names = {"EventLoop": "Loop", "StreamReaderBase": "StreamReader"}
    names |= {"StreamWriterBase": "StreamWriter", "Loop": "Loop"}
    found = {}
    for stub in ("_native.pyi", "_loop/loop.pyi"):
        for kind in ast.walk(ast.parse((PACKAGE / stub).read_text(encoding="utf-8"))):
            if not isinstance(kind, ast.ClassDef) or kind.name not in names:
                continue
            for method in kind.body:
                if (
                    isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef))
                    and not method.decorator_list
                ):
                    arguments = re.sub(r"^(self|loop)(, )?", "", ast.unparse(method.args))
                    arguments = arguments.replace("Unpack[_Ts]", "*_Ts")
                    result = ast.unparse(method.returns) if method.returns else "None"
                    name = f"ferroloop.{names[kind.name]}.{method.name}"
                    found[name] = f"({arguments}) -> {result}"
    return found


_SIGNATURES = _stub_signatures()


def _signature(
    _app: Any, _what: str, name: str, _obj: Any, _options: Any, signature: str | None, result: Any
) -> tuple[str | None, Any] | None:
    """Show methods as the stubs declare them."""
    if name not in _SIGNATURES:
        return signature, result
    parameters, _, returns = _SIGNATURES[name].partition(") -> ")
    return f"{parameters.removesuffix(')')})", returns or None


def _docstring(_app: Any, *event: Any) -> None:
    """Make reStructuredText of a docstring: one backtick means code, a star is a star."""
    lines: list[str] = event[-1]
    for number, line in enumerate(lines):
        parts = re.split(r"`+", line)
        parts[::2] = [re.sub(r"(\*|_\b(?!\w))", r"\\\1", part) for part in parts[::2]]
        lines[number] = "".join(
            f"``{part}``" if index % 2 else part for index, part in enumerate(parts)
        )


def setup(app: Any) -> None:
    """Have Sphinx call the functions above."""
    app.connect("source-read", _read)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-process-docstring", _docstring)
