"""GET /api/usage; GET, POST /api/budgets and /api/limits; GET, PUT, DELETE of each by its id."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from serve_app.auth.schemas import Principal
from serve_app.http.bodies import read_model, read_query
from serve_app.http.context import context_of
from serve_app.http.responses import model_response
from serve_app.http.routes import new_router, path_parameter, request_body
from serve_app.usage.schemas import (
    Budget,
    BudgetList,
    BudgetTerms,
    Limit,
    LimitList,
    LimitTerms,
    NewBudget,
    NewLimit,
    Page,
    Usage,
    UsageQuery,
)
from serve_app.usage.service import BudgetService, LimitService, UsageService


def usage_router(usage: UsageService, budgets: BudgetService, limits: LimitService) -> APIRouter:
    """The endpoints over their services."""
    router = new_router()

    @router.get("/api/usage", tags=["usage"], response_model=Usage, openapi_extra=_query(UsageQuery))
    async def used(request: Request) -> Response:
        """Calls, tokens, cost and latency of a period, in groups or row by row."""
        return model_response(await usage.usage(_caller(request, "usage"), read_query(request, UsageQuery)))

    _add_budgets(router, budgets)
    _add_limits(router, limits)
    return router


def _add_budgets(router: APIRouter, budgets: BudgetService) -> None:
    by_id = path_parameter("id", "Id of a budget.")

    @router.get("/api/budgets", tags=["budgets"], response_model=BudgetList, openapi_extra=_query(Page))
    async def all_budgets(request: Request) -> Response:
        """Budgets with what is spent, reserved and left in their present period."""
        return model_response(await budgets.page(_caller(request, "budgets"), read_query(request, Page)))

    @router.post(
        "/api/budgets", tags=["budgets"], status_code=201, response_model=Budget, openapi_extra=request_body(NewBudget)
    )
    async def add_budget(request: Request) -> Response:
        """Make a budget. It holds everywhere within a few seconds."""
        caller = _caller(request, "budgets")
        return model_response(await budgets.add(caller, await read_model(request, NewBudget)), status=201)

    @router.get("/api/budgets/{id}", tags=["budgets"], response_model=Budget, openapi_extra=by_id)
    async def one_budget(request: Request) -> Response:
        """One budget."""
        return model_response(await budgets.get(_caller(request, "budgets"), request.path_params["id"]))

    @router.put(
        "/api/budgets/{id}",
        tags=["budgets"],
        response_model=Budget,
        openapi_extra=by_id | request_body(BudgetTerms),
    )
    async def replace_budget(request: Request) -> Response:
        """Change amount, period and mode. What was spent stays."""
        caller, terms = _caller(request, "budgets"), await read_model(request, BudgetTerms)
        return model_response(await budgets.replace(caller, request.path_params["id"], terms))

    @router.delete("/api/budgets/{id}", tags=["budgets"], status_code=204, openapi_extra=by_id)
    async def delete_budget(request: Request) -> Response:
        """Delete a budget."""
        await budgets.delete(_caller(request, "budgets"), request.path_params["id"])
        return Response(status_code=204)


def _add_limits(router: APIRouter, limits: LimitService) -> None:
    by_id = path_parameter("id", "Id of a limit.")

    @router.get("/api/limits", tags=["limits"], response_model=LimitList, openapi_extra=_query(Page))
    async def all_limits(request: Request) -> Response:
        """Limits on requests and tokens per minute and on calls at once."""
        return model_response(await limits.page(_caller(request, "limits"), read_query(request, Page)))

    @router.post(
        "/api/limits", tags=["limits"], status_code=201, response_model=Limit, openapi_extra=request_body(NewLimit)
    )
    async def add_limit(request: Request) -> Response:
        """Make a limit. It holds everywhere within a few seconds."""
        caller = _caller(request, "limits")
        return model_response(await limits.add(caller, await read_model(request, NewLimit)), status=201)

    @router.get("/api/limits/{id}", tags=["limits"], response_model=Limit, openapi_extra=by_id)
    async def one_limit(request: Request) -> Response:
        """One limit."""
        return model_response(await limits.get(_caller(request, "limits"), request.path_params["id"]))

    @router.put(
        "/api/limits/{id}", tags=["limits"], response_model=Limit, openapi_extra=by_id | request_body(LimitTerms)
    )
    async def replace_limit(request: Request) -> Response:
        """Change all three limits."""
        caller, terms = _caller(request, "limits"), await read_model(request, LimitTerms)
        return model_response(await limits.replace(caller, request.path_params["id"], terms))

    @router.delete("/api/limits/{id}", tags=["limits"], status_code=204, openapi_extra=by_id)
    async def delete_limit(request: Request) -> Response:
        """Delete a limit."""
        await limits.delete(_caller(request, "limits"), request.path_params["id"])
        return Response(status_code=204)


def _caller(request: Request, operation: str) -> Principal:
    context = context_of(request)
    context.operation = operation
    return context.caller


def _query(model: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI entries of a query string with a model's fields."""
    schema = model.model_json_schema()
    return {
        "parameters": [
            {"name": name, "in": "query", "schema": field, "style": "form", "explode": False}
            for name, field in schema["properties"].items()
        ]
    }
