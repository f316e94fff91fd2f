"""How Sphinx builds these pages; `./kowalski.py docs` does it."""

import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

project = "Kowalski"
author = "Kowalski's team"
version = release = yaml.safe_load((ROOT / "config.defaults.yaml").read_text())["kowalski"]["server"]["version"]
extensions = ["myst_parser", "kowalski.documentation.extension"]
exclude_patterns = ["conf.py"]
myst_heading_anchors = 4
myst_enable_extensions = ["tasklist"]
# a page says what language its blocks are in; those of plain output in none
highlight_language = "none"
# quotes and dashes stay as they are typed: options begin with two of them
smartquotes = False
html_theme = "furo"
html_title = f"Kowalski {release}"
html_copy_source = False
html_show_sphinx = False
html_permalinks_icon = "#"
# the colours of both modes stand in furo's own variables: nothing is fetched
html_theme_options = {"source_view_link": "", "top_of_page_buttons": []}
pygments_style = "friendly"
pygments_dark_style = "monokai"
