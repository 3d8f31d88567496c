"""The code on the pages, for the tests that run it."""

import re

TABS = re.compile(r"<!-- tabs -->\n(.*?)<!-- /tabs -->", flags=re.DOTALL)
BLOCKS = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", flags=re.DOTALL)


def tab(page: str, label: str) -> str:
    """The page as a reader sees it who has chosen the tabs of that label."""

    def chosen(match: re.Match[str]) -> str:
        parts = re.split(r"^\*\*(\w+)\*\*$", match[1], flags=re.MULTILINE)
        return dict(zip(parts[1::2], parts[2::2], strict=True))[label]

    return TABS.sub(chosen, page)


def code_and_printed(page: str, label: str) -> list[tuple[str, str]]:
    """Each piece of Python in those tabs or outside any, with the output shown below it."""
    return BLOCKS.findall(tab(page, label))


def links(page: str) -> list[tuple[str, str]]:
    """(path, anchor) of each link into the repository; the path of one into the page itself is empty."""
    targets = re.findall(r"\]\((?![a-z]+:)([^)\s]+)\)", page)
    return [(path, anchor) for path, _, anchor in (target.partition("#") for target in targets)]


def anchors(page: str) -> set[str]:
    """Those that GitHub and the site give to the headings."""
    headings = re.findall(r"^#+ (.+)$", page, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
