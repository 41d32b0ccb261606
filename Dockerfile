# orchestray in an image: docker build -t orchestray .
# A node in a container: `docker run --init -v ./orchestray.conf.json:/etc/orchestray/orchestray.conf.json orchestray`
# Three raft nodes: compose.yaml.

FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/orchestray
# First what changes seldom: Ray and the others, once for all later builds
COPY pyproject.toml ./
RUN mkdir actors api services && /opt/orchestray/bin/pip install --no-cache-dir --quiet . \
    && /opt/orchestray/bin/pip uninstall --yes --quiet orchestray
COPY actors actors
COPY api api
COPY services services
RUN /opt/orchestray/bin/pip install --no-cache-dir --quiet --no-deps .

FROM python:3.12-slim
COPY --from=build /opt/orchestray /opt/orchestray
RUN useradd --system --uid 990 --create-home --home-dir /var/lib/orchestray orchestray \
    && install -d -o orchestray -g orchestray /etc/orchestray
USER orchestray
WORKDIR /var/lib/orchestray
VOLUME /var/lib/orchestray
ENV PATH=/opt/orchestray/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 3000 10008
STOPSIGNAL SIGTERM
# lb-check: it answers. Who leads is asked by leader-check.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s CMD ["python", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3000/api/lb-check', timeout=2)"]
ENTRYPOINT ["orchestray"]
CMD ["serve", "--config", "/etc/orchestray/orchestray.conf.json"]
