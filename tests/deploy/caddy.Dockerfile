# A router that Debian has, in traefik's place: for tests of docker-compose.traefik.defaults.yaml where there is no traefik.
FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install --yes --no-install-recommends caddy && rm -rf /var/lib/apt/lists/*
COPY Caddyfile /etc/caddy/Caddyfile
ENV XDG_DATA_HOME=/letsencrypt XDG_CONFIG_HOME=/tmp
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile"]
