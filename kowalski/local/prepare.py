"""python -m kowalski.local.prepare: MongoDB has its replica set and Kowalski's users; whoever starts everything runs it once.

It alone needs the password of the database's admin.
"""

from kowalski.config import load_config
from kowalski.database.replica_set import ensure_users, prepare
from kowalski.local.secrets import refuse_published
from kowalski.log import get_logger
from kowalski.program import once_available, run_program

log = get_logger(__name__)

#: s that MongoDB may take to start
PATIENCE = 120


def main() -> None:
    """Prepare the database of the settings."""
    run_program("prepare", body, metrics=False)


def body() -> None:
    """A single server of a replica set is initiated; one that others run (several hosts, srv, mongos) only gets the users."""
    config = load_config()
    refuse_published(config)
    settings = config.database
    if settings.replica_set and not settings.srv and "," not in settings.host:
        prepare(settings, PATIENCE)
    else:
        once_available(lambda: ensure_users(settings))
    log.info("MongoDB at %s is prepared", settings.host)


if __name__ == "__main__":
    main()
