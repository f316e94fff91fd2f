# All but the API: dask clusters, brokers, poster. Built from requirements.txt: the versions stand there, what this image
# needs of them in pyproject.toml.
FROM python:3.11-slim-bookworm AS build
WORKDIR /kowalski
RUN python3 -m venv .venv && .venv/bin/pip install --no-cache-dir pip==25.3
COPY requirements.txt pyproject.toml ./
RUN .venv/bin/pip install --no-cache-dir --constraint requirements.txt --group ingester --group tests \
 && .venv/bin/pip uninstall --yes pip \
 && sha256sum requirements.txt | head --bytes 64 > .venv/requirements.sha256 \
 && install --directory --owner 10001 --group 0 --mode 0770 state \
 && install --directory --owner 10001 --group 0 --mode 0755 state/metrics

FROM python:3.11-slim-bookworm
ENV PATH=/kowalski/.venv/bin:$PATH PYTHONUNBUFFERED=1 MALLOC_MMAP_THRESHOLD_=1048576 PYTHONDONTWRITEBYTECODE=1 USING_DOCKER=true KOWALSKI_ROLE=ingester \
    KOWALSKI__LOCAL__FOLDER=/tmp/kowalski KOWALSKI__LOCAL__MIN_FREE_GB=0 HOME=/kowalski/data/local \
    KOWALSKI__ML__FOLDER=data/local/models KOWALSKI__TRANSIENTS__SALT2__FOLDER=data/local/models/sncosmo \
    KOWALSKI__SCHEMAS__LSST__FOLDER=data/local/schemas/lsst
RUN useradd --no-log-init --no-create-home --uid 10001 --gid 0 --home-dir /kowalski/data/local kowalski
WORKDIR /kowalski
COPY --from=build /kowalski/.venv .venv
COPY --from=build --chown=10001:0 /kowalski/state data/local
COPY CHANGELOG.md README.md config.defaults.yaml kowalski.py pyproject.toml requirements.txt version.tx[t] ./
COPY data/schemas data/schemas
COPY models/stand-ins models/stand-ins
COPY tools tools
COPY benchmarks benchmarks
COPY tests tests
COPY docs docs
COPY kowalski kowalski
USER 10001:0
VOLUME /kowalski/data/local
EXPOSE 8787
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s CMD ["sh", "-c", "test $(( $(date +%s) - $(stat -c %Y /tmp/kowalski/ready) )) -lt 30"]
CMD ["python", "-m", "kowalski.local.container"]
