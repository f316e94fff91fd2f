"""Simulate a night of ZTF alert packets into a folder or a topic; --help says how."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from kowalski.simulation.commands import simulate_alerts

    sys.exit(simulate_alerts())
