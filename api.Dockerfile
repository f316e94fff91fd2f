# The REST API. Built from requirements.txt: the versions stand there, what this image needs of them in pyproject.toml.
FROM python:3.11-slim-bookworm AS build
WORKDIR /kowalski
RUN python3 -m venv .venv && .venv/bin/pip install --no-cache-dir pip==25.3
COPY requirements.txt pyproject.toml ./
RUN .venv/bin/pip install --no-cache-dir --constraint requirements.txt --group api --group tests \
 && .venv/bin/pip uninstall --yes pip \
 && sha256sum requirements.txt | head --bytes 64 > .venv/requirements.sha256 \
 && install --directory --owner 10001 --group 0 --mode 0770 state \
 && install --directory --owner 10001 --group 0 --mode 0755 state/metrics

# the pages that the API serves at /docs; what makes them stays out of the image
FROM build AS docs
RUN .venv/bin/python -m ensurepip && .venv/bin/python -m pip install --no-cache-dir pip==25.3 \
 && .venv/bin/python -m pip install --no-cache-dir --constraint requirements.txt --group docs
COPY CHANGELOG.md CONTRIBUTING.md LICENSE README.md config.defaults.yaml kowalski.py ./
COPY kubernetes/README.md kubernetes/README.md
COPY models/stand-ins/README.md models/stand-ins/README.md
COPY benchmarks benchmarks
COPY docs docs
COPY kowalski kowalski
RUN .venv/bin/python kowalski.py docs

FROM python:3.11-slim-bookworm
ENV PATH=/kowalski/.venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 USING_DOCKER=true KOWALSKI_ROLE=api \
    KOWALSKI__LOCAL__FOLDER=/tmp/kowalski KOWALSKI__LOCAL__MIN_FREE_GB=0 HOME=/kowalski/data/local
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
COPY kowalski kowalski
COPY docs docs
COPY --from=docs /kowalski/data/docs data/docs
USER 10001:0
VOLUME /kowalski/data/local
EXPOSE 4000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["sh", "-c", "test $(( $(date +%s) - $(stat -c %Y /tmp/kowalski/ready) )) -lt 30"]
CMD ["python", "-m", "kowalski.local.container"]
