# The server, with its weights and face models, for a machine that has Docker and nothing else:
#
#   docker build -t fakestormer .
#   docker run --read-only --tmpfs /tmp -v jobs:/jobs -p 127.0.0.1:8000:8000 \
#     -e FAKESTORMER_TOKEN=... fakestormer

FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY src src
RUN python -m venv /opt/fakestormer \
    && /opt/fakestormer/bin/python -m pip install --no-cache-dir -c constraints.txt '.[serve]' \
    && FAKESTORMER_CACHE=/opt/fakestormer/cache /opt/fakestormer/bin/fakestormer setup

FROM python:3.12-slim
COPY --from=build /opt/fakestormer /opt/fakestormer
RUN useradd --uid 10001 --no-create-home fakestormer \
    && install --directory --owner=10001 --group=10001 --mode=0700 /jobs
ENV PATH=/opt/fakestormer/bin:$PATH \
    FAKESTORMER_CACHE=/opt/fakestormer/cache \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1
USER 10001
VOLUME /jobs
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD \
    ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["fakestormer"]
CMD ["serve", "--host", "0.0.0.0", "--store", "/jobs"]
