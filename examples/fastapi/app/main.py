"""A small shop on FastAPI: uvicorn imports main:app."""
import os
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, PlainTextResponse

VERSION = (Path(__file__).parent / "VERSION").read_text().strip()

app = FastAPI(title="shop", version=VERSION)


@app.middleware("http")
async def marked(request: Request, call_next):
    answer = await call_next(request)
    answer.headers["X-Version"] = VERSION
    answer.headers["X-Colour"] = os.environ.get("BLUEGREEN_COLOUR", "none")
    answer.headers["X-Request-Id"] = request.headers.get("X-Request-Id", "")
    return answer


@app.get("/")
async def index() -> HTMLResponse:
    return HTMLResponse(f"<!doctype html><h1>shop {VERSION}</h1>")


@app.get("/healthz")
async def healthz() -> PlainTextResponse:
    return PlainTextResponse("ok")


@app.post("/order")
async def order(request: Request) -> Response:
    return Response('{"bytes":%d}' % len(await request.body()), media_type="application/json")


@app.get("/seen")
async def seen(request: Request) -> dict:
    """What the app knows of its client."""
    url = request.url
    return {"host": url.netloc, "scheme": url.scheme, "path": url.path, "client": request.client.host}
