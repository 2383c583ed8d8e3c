# A server of one model, mounted at /model: see docs/serving.md.
FROM python:3.12.12-slim-bookworm

WORKDIR /app
# The versions that the tests run with; requirements.txt holds more than a server needs, so it only limits.
COPY requirements.txt pyproject.toml README.md LICENSE ./
COPY src ./src
COPY recipes ./recipes
RUN pip install --no-cache-dir --constraint requirements.txt ".[serve]" && useradd --create-home server

USER server
WORKDIR /home/server
ENV OMP_WAIT_POLICY=PASSIVE
EXPOSE 8000
HEALTHCHECK --start-period=10m CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/ready')"]
# Beyond loopback the server asks for BASEREWARD_API_KEY.
ENTRYPOINT ["basereward", "serve"]
CMD ["/model", "--host", "0.0.0.0"]
