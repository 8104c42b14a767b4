# Build:  docker build -t parityd .
# Run:    docker run -d --name parityd --read-only --tmpfs /tmp -p 127.0.0.1:9815:9815 -v parityd-data:/data -v parityd-backup:/backup parityd
#
# Mount the folder /data, never single files in it: a bind-mounted file keeps showing its first content when it is replaced by rename, and
# replacing by rename is how every publication is made. An engine in another container mounts the same volume and reads
# /data/system_actions. A configuration file: -v /etc/parityd:/etc/parityd:ro, read as /etc/parityd/parityd.toml; or -e PARITYD_SECTION__KEY=...

FROM python:3.12-slim-bookworm AS build
WORKDIR /source
RUN python -m venv /opt/parityd
COPY requirements/notify.txt requirements/
RUN /opt/parityd/bin/pip install --no-cache-dir --require-hashes -r requirements/notify.txt
COPY pyproject.toml README.md LICENSE ./
COPY parityd parityd
COPY data/sample data/sample
RUN /opt/parityd/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
 && /opt/parityd/bin/pip install --no-cache-dir --no-deps /wheel/*.whl \
 && /opt/parityd/bin/python -m compileall -q /opt/parityd

FROM python:3.12-slim-bookworm
RUN groupadd --system --gid 9815 parityd \
 && useradd --system --uid 9815 --gid 9815 --home-dir /data --no-create-home --shell /usr/sbin/nologin parityd \
 && install -d -o parityd -g parityd -m 0711 /data \
 && install -d -o parityd -g parityd -m 0700 /backup
COPY --from=build /opt/parityd /opt/parityd
ENV PATH=/opt/parityd/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONFAULTHANDLER=1 \
    PARITYD_DATA_DIR=/data \
    PARITYD_HTTP__HOST=0.0.0.0
USER parityd
WORKDIR /data
VOLUME /data
EXPOSE 9815
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["/opt/parityd/bin/python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ.get('PARITYD_HTTP__PORT', '9815')}/healthz\", timeout=4)"]
ENTRYPOINT ["parityd"]
CMD ["run"]
