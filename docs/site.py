"""Makes one site of the project's pages, wherever they lie, and gives every clause of SPEC.md an address.

MkDocs reads pages from docs/ alone. This brings in the others, rewrites the links between them, which fit the
repository, turns a mention such as "SPEC 7.1" into a link, and formulas into MathML, which needs no script.
"""

import html
import posixpath
import re
from pathlib import Path

import griffe
from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
# Where the pages and pictures outside docs/ stand on the site.
OUTSIDE = {
    "README.md": "index.md",
    "SPEC.md": "SPEC.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CITATION.cff": "CITATION.cff",
    "LICENSE": "LICENSE",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/results/ratio.png": "ratio.png",
    **{f"examples/{path.name}": f"examples/{path.name}" for path in (ROOT / "examples").glob("*.py")},
    "benchmarks/losses.py": "benchmarks/losses.py",
    "benchmarks/focus_stack.py": "benchmarks/focus_stack.py",
}
IN_REPOSITORY = {page: source for source, page in OUTSIDE.items()}


class Docstrings(griffe.Extension):
    """Reads the section `Example` as Google's `Examples`, which is shown as code, and formulas as Markdown's."""

    def on_object(self, *, obj, **_):
        if obj.docstring:
            text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
            text = re.sub(r":math:`(.+?)`", r"$\1$", text)
            block = re.compile(r"^\.\. math::\s*((?:.+\n?)+)", flags=re.MULTILINE)
            obj.docstring.value = block.sub(lambda match: f"$$\n{match[1].strip()}\n$$\n", text)


def on_files(files, config):
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown, page, **_):
    here = page.file.src_uri
    folder = posixpath.dirname(IN_REPOSITORY.get(here, f"docs/{here}"))
    if here == "SPEC.md":
        markdown = re.sub(r"^(\d+\.\d+)\. ", r"[\1.](#\1){ #\1 .clause } ", markdown, flags=re.MULTILINE)
        markdown = re.sub(r"^## (\d+)\. .+$", r'<a id="\1"></a>\n\n\g<0>', markdown, flags=re.MULTILINE)

    def link(match):
        source = posixpath.normpath(posixpath.join(folder, match["path"]))
        target = OUTSIDE.get(source, source.removeprefix("docs/"))
        return f"]({posixpath.relpath(target, posixpath.dirname(here))}{match['anchor']})"

    return re.sub(r"\]\((?![a-z]+:|#)(?P<path>[^)#\s]+)(?P<anchor>(#[^)]*)?)\)", link, markdown)


def on_page_content(content, page, files, **_):
    def formula(match):
        return convert(html.unescape(match["tex"]), display="block" if match["open"] == "[" else "inline")

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
