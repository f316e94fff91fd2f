"""./kowalski.py ledger: a night's books, by topic and partition, and whether they balance."""

import argparse
import json
from itertools import groupby

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from kowalski.config import load_config
from kowalski.database.client import connect
from kowalski.database.ledger import Ledger
from kowalski.errors import StreamError
from kowalski.local.bars import working
from kowalski.night.dates import night_from
from kowalski.night.ledger import Account, Books, books_of

#: figures that are always shown, and those that are where there are any
ALWAYS = ("received", "stored", "known", "quarantined", "filtered", "passed", "delivered", "balance")
SOMETIMES = ("withdrawn", "pending", "failed", "expired", "unread")
STATES = ("delivered", "pending", "failed", "expired")
#: ranges of offsets that are listed
SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("night", nargs="?", metavar="DATE", help="YYYYMMDD or YYYY-MM-DD; without it, the latest night")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """Print a night's books; 1 where something is unaccounted for."""
    config = load_config()
    database = connect(config.database)
    try:
        night = f"{night_from(arguments.night):%Y%m%d}" if arguments.night else latest_night(Ledger(database))
        with working(f"closing the books of {night}"):
            books = books_of(night, database, config.kafka.topics)
    finally:
        database.client.close()
    if not books.accounts:
        raise StreamError(f"nothing of the night {night} was read")
    if arguments.json:
        print(json.dumps(books.as_dict(), indent=2))
    else:
        show(books, Console())
    return 1 if books.balance else 0


def latest_night(ledger: Ledger) -> str:
    """The latest night that anything was read of.

    Raises
    ------
    StreamError : there is none
    """
    nights = ledger.nights()
    if not nights:
        raise StreamError("the ledger is empty: no message was read yet")
    return nights[0]


def show(books: Books, console: Console) -> None:
    """Print books, a table per topic, and in words what is not as it should be."""
    rows = {id(account): _figures(account) for account in books.accounts}
    names = [*ALWAYS, *(name for name in SOMETIMES if any(row[name] for row in rows.values()))]
    console.print(f"Ledger of {books.night}", style="italic", highlight=False)
    for topic, accounts in groupby(books.accounts, key=lambda account: account.topic):
        table = Table(
            box=SIMPLE, show_edge=False, padding=(0, 0), title=f"\n{topic}", title_justify="left", pad_edge=False
        )
        for name in ("", *names):
            table.add_column(name, justify="right")
        for account in accounts:
            table.add_row(str(account.partition), *(str(rows[id(account)][name]) for name in names))
        console.print(table)
    for account in books.accounts:
        for line in _remarks(account):
            console.print(
                f"{account.topic}[{account.partition}]: {line}", markup=False, highlight=False, soft_wrap=True
            )
    console.print(f"\n{verdict(books)}", style="bold", highlight=False, soft_wrap=True)


def verdict(books: Books) -> str:
    """The books in one sentence."""
    total = books.total()
    said = [f"{total['received']} received"]
    said += [f"{total[name]} {name}" for name in ("stored", "known", "quarantined")]
    balance = "balance 0: nothing is missing" if not books.balance else f"BALANCE {books.balance}: see above"
    return f"{said[0]} = {' + '.join(said[1:])}; {balance}"


def _figures(account: Account) -> dict[str, int]:
    """The figures of an account by name."""
    own = {name: getattr(account, name) for name in (*ALWAYS, *SOMETIMES) if hasattr(account, name)}
    own["quarantined"] = sum(account.quarantined.values())
    return own | {state: account.candidates.get(state, 0) for state in STATES}


def _remarks(account: Account) -> list[str]:
    """What is to be said of an account besides its figures."""
    said = [f"{number} in quarantine: {reason}" for reason, number in sorted(account.quarantined.items())]
    if account.discarded:
        said.append(f"{account.discarded} of these were discarded")
    said += [f"GAP: offsets {gap['first']} to {gap['last']} were not read: {gap['why']}" for gap in account.gaps]
    for what, ranges in (
        ("read, but found nowhere", account.missing),
        ("passed, but not in the outbox", account.unposted),
    ):
        said += [f"MISSING: offsets {first} to {last}: {what}" for first, last in ranges[:SHOWN]]
        if len(ranges) > SHOWN:
            said.append(f"and {len(ranges) - SHOWN} ranges more: see --json")
    return said
