"""./kowalski.py workers SURVEY: this machine's processors for a survey whose scheduler runs on another one."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("survey", help="e.g. ZTF")
    parser.add_argument("--workers", metavar="N", help="how many processes; else n_workers of the settings")


def run(arguments: argparse.Namespace) -> int:
    """Work until told to stop; the exit status of that."""
    from kowalski.dask_cluster import main  # takes 2 s, which --help need not

    number = () if arguments.workers is None else ("--workers", arguments.workers)
    try:
        main([arguments.survey, "--join", *number])
    except SystemExit as end:
        return int(end.code or 0)
