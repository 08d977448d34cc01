"""GET, POST /api/experiments; GET, PUT /api/experiments/{id}; GET /api/experiments/{id}/report."""

import pydantic
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from serve_app.auth.schemas import Principal
from serve_app.experiments.schemas import Experiment, ExperimentList, ExperimentUpdate, NewExperiment, Page, Report
from serve_app.experiments.service import ExperimentService
from serve_app.http.bodies import read_model
from serve_app.http.context import context_of
from serve_app.http.errors import invalid
from serve_app.http.responses import model_response
from serve_app.http.routes import new_router, path_parameter, request_body

_ID = path_parameter("id", "Id of an experiment.")


def experiments_router(service: ExperimentService) -> APIRouter:
    """The endpoints over a service."""
    router = new_router()

    @router.get("/api/experiments", tags=["experiments"], response_model=ExperimentList)
    async def experiments(request: Request) -> Response:
        """The tenant's experiments with their reports, newest first; `limit` and `cursor` in the query."""
        return model_response(await service.list(_caller(request), _page(request)))

    @router.post(
        "/api/experiments",
        tags=["experiments"],
        status_code=201,
        response_model=Experiment,
        openapi_extra=request_body(NewExperiment),
    )
    async def add(request: Request) -> Response:
        """Start an experiment."""
        caller = _caller(request)
        return model_response(await service.add(caller, await read_model(request, NewExperiment)), status=201)

    @router.get("/api/experiments/{id}", tags=["experiments"], response_model=Experiment, openapi_extra=_ID)
    async def experiment(request: Request) -> Response:
        """One experiment."""
        return model_response(await service.get(_caller(request), request.path_params["id"]))

    @router.put(
        "/api/experiments/{id}",
        tags=["experiments"],
        response_model=Experiment,
        openapi_extra=_ID | request_body(ExperimentUpdate),
    )
    async def change(request: Request) -> Response:
        """Change name, weights or state."""
        caller, id = _caller(request), request.path_params["id"]
        return model_response(await service.change(caller, id, await read_model(request, ExperimentUpdate)))

    @router.get("/api/experiments/{id}/report", tags=["experiments"], response_model=Report, openapi_extra=_ID)
    async def report(request: Request) -> Response:
        """Calls, users, success, cost and latency by arm, with intervals and differences."""
        return model_response(await service.report(_caller(request), request.path_params["id"]))

    return router


def _caller(request: Request) -> Principal:
    context = context_of(request)
    context.operation = "experiments"
    return context.caller


def _page(request: Request) -> Page:
    try:
        return Page.model_validate(dict(request.query_params))
    except pydantic.ValidationError as error:
        raise invalid(error.errors(include_url=False, include_context=False, include_input=False)) from None
