"""The least that a server like the API can do: one projected find_one through motor, two gunicorn workers, nothing else."""

import json
import sys
from pathlib import Path
from typing import Any

from aiohttp import web
from gunicorn.app.base import BaseApplication
from motor.motor_asyncio import AsyncIOMotorClient

WORKERS = 2


class Bare(BaseApplication):
    """The route under gunicorn, on a port, over the mongod of a benchmark's settings."""

    def __init__(self, port: int, settings: dict[str, Any]):
        self.port, self.settings = port, settings
        super().__init__()

    def load_config(self) -> None:
        values = {"bind": f"127.0.0.1:{self.port}", "workers": WORKERS, "worker_class": "aiohttp.GunicornUVLoopWebWorker", "keepalive": 75, "control_socket_disable": True}  # fmt: skip
        for name, value in values.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        async def factory() -> web.Application:
            own = self.settings
            client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(own["host"], own["port"], username=own["reader_username"], password=own["reader_password"], authSource=own["db"], directConnection=True)  # fmt: skip
            alerts = client[own["db"]]["ZTF_alerts"]

            async def find(request: web.Request) -> web.Response:
                found = await alerts.find_one(
                    {"candid": (await request.json())["candid"]}, {"_id": 0, "candid": 1, "candidate": 1}
                )
                return web.json_response({"data": found})

            async def live(request: web.Request) -> web.Response:
                return web.Response()

            app = web.Application()
            app.router.add_post("/", find)
            app.router.add_get("/health/live", live)
            return app

        return factory


if __name__ == "__main__":
    Bare(int(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())).run()
