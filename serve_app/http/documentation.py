"""/docs: the OpenAPI document in Swagger UI. Nothing is loaded from elsewhere, so the page works offline."""

from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

PAGE = "/docs"
ASSETS = "/docs/assets"


def add_documentation(app: FastAPI) -> None:
    """Add the page and its script, style sheet and icon to an app that has none of its own."""

    async def page(request: Request) -> Response:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=f"{app.title} {app.version}",
            swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{ASSETS}/favicon.png",
            swagger_ui_parameters={"persistAuthorization": True, "displayRequestDuration": True},
        )

    app.router.routes.append(Mount(ASSETS, StaticFiles(directory=_assets())))
    app.router.routes.append(Route(PAGE, page, methods=["GET"]))


def _assets() -> Path:
    """The files that the wheel `fastapi-offline` carries; its code is not used."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise ImportError("fastapi-offline is not installed")
    return Path(spec.origin).parent / "static"
