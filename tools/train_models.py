"""Train the stand-in models on simulated packets and write them into models/stand-ins (about 3 minutes)."""

import argparse
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from kowalski.simulation.training import train

    argparse.ArgumentParser(description=__doc__).parse_args()
    train()
