"""Publish packets to Kafka, as fast as possible or at the pace of the sky; --help says how."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from kowalski.simulation.commands import kafka_stream

    sys.exit(kafka_stream())
