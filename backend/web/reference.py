"""Reference page of the API without inline scripts, which the Content-Security-Policy does not allow."""

from __future__ import annotations

from html import escape

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="{root}/static-offline-docs/swagger-ui.css">
<link rel="icon" href="{root}/static-offline-docs/favicon.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{root}/static-offline-docs/swagger-ui-bundle.js"></script>
<script src="{root}/docs.js" data-url="{root}/openapi.json"></script>
</body>
</html>
"""
SCRIPT = """SwaggerUIBundle({
  url: document.currentScript.dataset.url,
  dom_id: "#swagger-ui",
  deepLinking: true,
  showExtensions: true,
  showCommonExtensions: true,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
});
"""


def install(api: FastAPI) -> None:
    """Add the page, whose scripts FastAPIOffline serves."""

    @api.get("/docs", include_in_schema=False)
    async def _page(request: Request) -> HTMLResponse:
        root = escape(request.scope.get("root_path", ""), quote=True)
        return HTMLResponse(PAGE.format(root=root, title=f"{api.title}: API"))

    @api.get("/docs.js", include_in_schema=False)
    async def _script() -> Response:
        return Response(SCRIPT, media_type="text/javascript")
