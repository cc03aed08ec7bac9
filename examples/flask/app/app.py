"""A small shop on Flask: gunicorn imports app:app."""
import os
from pathlib import Path

from flask import Flask, jsonify, request
from werkzeug.middleware.proxy_fix import ProxyFix

VERSION = (Path(__file__).parent / "VERSION").read_text().strip()

app = Flask(__name__)
# One web server is in front, and it sets these headers itself.
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)


@app.after_request
def marked(answer):
    answer.headers["X-Version"] = VERSION
    answer.headers["X-Colour"] = os.environ.get("BLUEGREEN_COLOUR", "none")
    answer.headers["X-Request-Id"] = request.headers.get("X-Request-Id", "")
    return answer


@app.get("/")
def index():
    return f'<!doctype html><link rel="stylesheet" href="/static/shop.css"><h1>shop {VERSION}</h1>'


@app.get("/healthz")
def healthz():
    return "ok"


@app.post("/order")
def order():
    return app.response_class('{"bytes":%d}' % len(request.get_data()), mimetype="application/json")


@app.get("/seen")
def seen():
    """What the app knows of its client."""
    return jsonify(host=request.host, scheme=request.scheme, path=request.path, client=request.remote_addr)
