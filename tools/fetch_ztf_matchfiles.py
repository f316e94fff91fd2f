"""Fetch ZTF's matchfiles from IPAC's depot; --help says how."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from kowalski.downloads.ztf_matchfiles import main

    sys.exit(main())
