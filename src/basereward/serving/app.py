"""The application: forms of requests, the model, health and counters, and the page, behind one gate."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException

from basereward import __version__
from basereward.serving.forms import Form
from basereward.serving.gate import Gate
from basereward.serving.refusals import INTERNAL, ErrorBody, RequestError, explain
from basereward.serving.service import Service
from basereward.serving.wire import ModelList

_REFERENCE = "#/components/schemas/{model}"
_PAGE = Path(__file__).parent / "page"
_PAGE_FILES = {"/": "text/html", "/page.js": "text/javascript", "/page.css": "text/css"}
# Whatever a response spells, the page runs its own script alone and talks to this server alone.
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": ErrorBody} for code in (400, 401, 403, 404, 413, 415, 422, 429, 500, 503, 504)
}


def build_app(service: Service, key: str | None = None) -> Gate:
    """Return the application of a service, to be run by an ASGI server.

    Args:
        key: what every path but ``/health`` and ``/ready`` asks for.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.stop()

    app = FastAPI(
        title="basereward",
        version=__version__,
        # These pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        exception_handlers={RequestError: _refuse, HTTPException: _refuse_path, Exception: _fail},
    )
    for form in service.forms:
        _add_form(app, service, form)
    _add_facts(app, service)
    _add_page(app)
    app.openapi = lambda: _describe(app, service)  # type: ignore[method-assign]
    settings = service.settings
    return Gate(
        app,
        frozenset(form.path for form in service.forms),
        key,
        service.admission,
        settings.limits.max_body_bytes,
        settings.deadline,
        service.metrics,
    )


def _add_form(app: FastAPI, service: Service, form: Form) -> None:
    async def answer(request: Request) -> Response:
        found = await service.answer(form, await request.body())
        return Response(found.model_dump_json(), media_type="application/json")

    schema = {"$ref": _REFERENCE.format(model=form.sent.__name__)}
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    app.add_api_route(
        form.path,
        answer,
        methods=["POST"],
        summary=form.summary,
        response_model=form.answer,
        responses=_ERRORS,
        openapi_extra={"requestBody": body},
    )


def _add_facts(app: FastAPI, service: Service) -> None:
    @app.get("/health", summary="The process answers")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ready", summary="Requests are taken", responses={503: {"model": ErrorBody}})
    async def ready() -> dict[str, str]:
        service.admission.check()
        return {"status": "ready"}

    @app.get("/v1/models", summary="The served model, and everything that decides its numbers", responses=_ERRORS)
    async def models() -> ModelList:
        return ModelList(data=[service.served.card])

    @app.get("/metrics", summary="Counters for Prometheus", responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _add_page(app: FastAPI) -> None:
    for path, kind in _PAGE_FILES.items():
        content = (_PAGE / (path[1:] or "page.html")).read_bytes()
        app.add_api_route(path, _fixed(content, kind), methods=["GET"], include_in_schema=False)


def _fixed(content: bytes, kind: str) -> Callable[[], Awaitable[Response]]:
    async def answer() -> Response:
        return Response(content, media_type=kind, headers=_PAGE_HEADERS)

    return answer


def _describe(app: FastAPI, service: Service) -> dict[str, Any]:
    """Return the OpenAPI description; bodies are parsed in threads, so the framework does not know them."""
    if app.openapi_schema is None:
        described = get_openapi(title=app.title, version=app.version, routes=app.routes)
        _, sent = models_json_schema([(form.sent, "validation") for form in service.forms], ref_template=_REFERENCE)
        schemas = described.setdefault("components", {}).setdefault("schemas", {})
        app.openapi_schema = {**described, "components": {"schemas": {**sent["$defs"], **schemas}}}
    return app.openapi_schema


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return Response(
        error.answer.model_dump_json(), error.answer.error.code, error.headers, media_type="application/json"
    )


async def _refuse_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    named = {404: ("not_found", "There is no such path here."), 405: ("method", "Expected another method.")}
    reason, message = named.get(error.status_code, ("refused", json.dumps(error.status_code)))
    answer = await _refuse(request, RequestError(error.status_code, reason, message))
    answer.headers.update(error.headers or {})
    return answer


async def _fail(request: Request, error: Exception) -> Response:
    return await _refuse(request, RequestError(500, INTERNAL, explain(INTERNAL)))
