"""Makes the README's links absolute in place, for the package index, which shows it outside the repository.

python .ci/absolute_links.py https://github.com/OWNER/REPOSITORY v0.1.0
"""

import re
import sys
from pathlib import Path


def absolute(page: str, repository: str, tag: str) -> str:
    def link(match: re.Match[str]) -> str:
        kind = "raw" if match["picture"] else "blob"
        return f"{match['picture']}[{match['text']}]({repository}/{kind}/{tag}/{match['path']})"

    return re.sub(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?![a-z]+:|#)(?P<path>[^)\s]+)\)", link, page)


if __name__ == "__main__":
    readme = Path(__file__).parents[1] / "README.md"
    readme.write_text(absolute(readme.read_text(), *sys.argv[1:]))
