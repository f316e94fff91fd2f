"""What Prometheus is told of a dask cluster. In a module of its own: `kowalski.dask_cluster` is imported twice in workers, as a program and by its name."""

from prometheus_client import Counter, Gauge

READY = Gauge("kowalski_dask_workers_ready", "Worker processes of this machine that take batches", ["survey"])
WANTED = Gauge("kowalski_dask_workers_wanted", "Worker processes that there should be on this machine", ["survey"])
LOST = Counter("kowalski_dask_workers_lost", "Worker processes that ended while they were needed", ["survey"])
TASKS = Gauge("kowalski_dask_tasks", "Batches that the scheduler has", ["survey"])
MEMORY = Gauge("kowalski_dask_worker_memory_bytes", "Memory of each worker of the scheduler", ["survey", "worker"])
CPU = Gauge("kowalski_dask_worker_cpu_percent", "Share of a core that each worker of the scheduler takes", ["survey", "worker"])  # fmt: skip
