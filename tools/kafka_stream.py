"""Publish a folder of packets to Kafka; --help says how."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from kowalski.simulation.commands import kafka_stream

    sys.exit(kafka_stream())
