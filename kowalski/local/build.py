"""./kowalski.py build: the images of docker-compose.yaml."""

import argparse

from kowalski.local.up import build_images


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command has no options."""


def run(arguments: argparse.Namespace) -> int:
    """Build them; the exit status of docker compose."""
    return build_images()
