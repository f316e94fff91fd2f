"""Where the pages lie, and which documents that stand elsewhere are pages, too."""

from kowalski.config import ROOT

DOCS = ROOT / "docs"
#: documents beside docs/ -> the page that shows them
ELSEWHERE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "kubernetes/README.md": "kubernetes.md",
    "models/stand-ins/README.md": "stand-ins.md",
}
