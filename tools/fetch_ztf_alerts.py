"""Fetch ZTF's public alerts, night by night; --help says how."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from kowalski.downloads.ztf_alerts import main

    sys.exit(main())
