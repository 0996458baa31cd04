# The server, for a CPU. Build: docker build -t tl-classifier .
# Run: see compose.yaml, or
#   docker run --rm tl-classifier serve --new-key
#   docker run --rm --read-only --tmpfs /tmp -p 127.0.0.1:8000:8000 -e TLC_API_KEY_HASHES=HASH tl-classifier

FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/tl-classifier
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY tl_classifier ./tl_classifier
COPY training ./training
COPY serving ./serving
# The base install alone: no PyTorch. Byte code is compiled here, since nothing can be written later.
RUN /opt/tl-classifier/bin/pip install . && /opt/tl-classifier/bin/python -m compileall -q /opt/tl-classifier/lib

FROM python:3.12-slim
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin tlc \
    && mkdir /models && chown tlc:tlc /models
COPY --from=build /opt/tl-classifier /opt/tl-classifier
# In a container every client comes over the network, so the server asks for an API key: TLC_API_KEY_HASHES or
# TLC_API_KEYS_FILE. /models is the registry of models; without one, the model that ships is served.
ENV PATH=/opt/tl-classifier/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TLC_HOST=0.0.0.0 \
    TLC_PORT=8000 \
    TLC_MODELS=/models
USER 10001:10001
WORKDIR /tmp
VOLUME /models
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["python", "-m", "serving.health"]
ENTRYPOINT ["tl-classifier"]
CMD ["serve"]
