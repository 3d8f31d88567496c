"""Builds one site from pages all over the repository, and gives every clause of SPEC.md an address.

MkDocs only reads docs/. This hook adds the other pages and rewrites the links between them, which are written for the
repository. It also turns `<!-- tabs -->` into tabs, formulas into MathML, which needs no script, and a mention such as
"SPEC 7.1" into a link, and it leaves a redirect at each address that a page used to have.
"""

import html
import posixpath
import re
import textwrap
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
# Files outside docs/ that are on the site too, at the same path, except for the README, which is the home page, and for
# a path that begins with a dot.
PATTERNS = (
    "*.md",
    "CITATION.cff",
    "LICENSE",
    "examples/*.py",
    "benchmarks/**/*.py",
    "benchmarks/**/*.md",
    "benchmarks/**/*.png",
)
OUTSIDE = {
    str(path.relative_to(ROOT)): str(path.relative_to(ROOT))
    for pattern in PATTERNS
    for path in ROOT.glob(pattern)
}
OUTSIDE |= {"README.md": "index.md", ".github/SECURITY.md": "SECURITY.md"}
IN_REPOSITORY = {page: source for source, page in OUTSIDE.items()}
# Former address of a page -> the page.
MOVED = {
    "trouble": "troubleshooting",
    "come_from": "migrating",
    "gradients": "CONTRIBUTING",
}
REDIRECT = """<!doctype html>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url=../{page}/">
<link rel="canonical" href="../{page}/">
<script>location.replace("../{page}/" + location.hash)</script>
<a href="../{page}/">This page has moved.</a>
"""
TABS = re.compile(r"^<!-- tabs -->\n(.*?)^<!-- /tabs -->$", flags=re.DOTALL | re.MULTILINE)


def on_files(files, config):
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    for former, page in MOVED.items():
        content = REDIRECT.format(page=page)
        files.append(File.generated(config, f"{former}/index.html", content=content))
    return files


def on_page_markdown(markdown, page, **_):
    here = page.file.src_uri
    folder = posixpath.dirname(IN_REPOSITORY.get(here, f"docs/{here}"))
    if here == "SPEC.md":
        markdown = re.sub(
            r"^(\d+\.\d+)\. ", r"[\1.](#\1){ #\1 .clause } ", markdown, flags=re.MULTILINE
        )
        markdown = re.sub(
            r"^## (\d+)\. .+$", r'<a id="\1"></a>\n\n\g<0>', markdown, flags=re.MULTILINE
        )

    def link(match):
        source = posixpath.normpath(posixpath.join(folder, match["path"]))
        target = OUTSIDE.get(source, source.removeprefix("docs/"))
        return f"]({posixpath.relpath(target, posixpath.dirname(here))}{match['anchor']})"

    markdown = TABS.sub(tabs, markdown)
    markdown = re.sub(
        r"^```math\n(.*?)^```$", r"$$\n\1$$", markdown, flags=re.DOTALL | re.MULTILINE
    )
    return re.sub(
        r"\]\((?![a-z]+:|#)(?P<path>[^)#\s]+)(?P<anchor>(#[^)]*)?)\)", link, markdown
    )


def tabs(match):
    """Each part below a label such as **JAX**, as a tab of that name."""
    parts = re.split(r"^\*\*(\w+)\*\*$", match[1], flags=re.MULTILINE)
    labelled = zip(parts[1::2], parts[2::2], strict=True)
    return "\n".join(
        f'=== "{label}"\n\n{textwrap.indent(part.strip(), "    ")}\n'
        for label, part in labelled
    )


def on_page_content(content, page, files, **_):
    def formula(match):
        return convert(
            html.unescape(match["tex"]),
            display="block" if match["open"] == "[" else "inline",
        )

    content = re.sub(
        r'<(?P<tag>div|span) class="arithmatex">\\(?P<open>[(\[])(?P<tex>.*?)\\[)\]]</(?P=tag)>',
        formula,
        content,
        flags=re.DOTALL,
    )
    if page.file.src_uri == "SPEC.md":
        return content
    spec = files.get_file_from_path("SPEC.md").url_relative_to(page.file)
    return re.sub(r"\bSPEC (\d+(\.\d+)?)\b", rf'<a href="{spec}#\1">SPEC \1</a>', content)
