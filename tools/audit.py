"""Known vulnerabilities of the packages that requirements.txt pins, by pip-audit; --help says how."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from kowalski.local.audit import main

    sys.exit(main())
