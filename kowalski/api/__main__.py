"""python -m kowalski.api: the REST API under gunicorn, until SIGTERM or SIGINT."""

import os
import sys
from tempfile import TemporaryDirectory

from kowalski.config import load_config
from kowalski.errors import ConfigError
from kowalski.local.secrets import refuse_published
from kowalski.log import setup_logging
from kowalski.settings import required


def main() -> None:
    """Serve the API from the command line."""
    setup_logging("api")
    try:
        config = load_config()
        refuse_published(config)
        required(config.server.admin_password, "server.admin_password")
        required(config.server.jwt_secret_key, "server.JWT_SECRET_KEY")
    except ConfigError as error:
        sys.exit(str(error))
    with TemporaryDirectory(prefix="kowalski-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = (
            folder  # where workers keep their counts; read when the library is imported
        )
        from kowalski.api.server import Gunicorn
        from kowalski.exporter import announced, reached_at

        where = f"{reached_at(config.server.host)}:{config.server.port}"
        with announced("api", where, config.metrics):
            Gunicorn(config).run()


if __name__ == "__main__":
    main()
