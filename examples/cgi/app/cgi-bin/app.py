#!/usr/bin/python3
"""A CGI program: started for each request, it reads the request from its environment and its standard input."""
import json
import os
import sys
from pathlib import Path

VERSION = (Path(__file__).parent.parent / "VERSION").read_text().strip()
path = os.environ.get("PATH_INFO", "/")
body = sys.stdin.buffer.read(int(os.environ.get("CONTENT_LENGTH") or 0))

kind, status = "text/html", "200 OK"
if path == "/healthz":
    kind, text = "text/plain", "ok"
elif path == "/order":
    kind, text = "application/json", '{"bytes":%d}' % len(body)
elif path.startswith("/seen"):
    names = ["REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "REMOTE_ADDR", "HTTPS", "HTTP_HOST", "SCRIPT_NAME", "SERVER_PROTOCOL",
             "HTTP_PROXY", "HTTP_X_FORWARDED_FOR", "CONTENT_TYPE", "GREETING"]
    kind, text = "application/json", json.dumps({name: os.environ.get(name, "") for name in names} | {"uid": os.getuid(), "body": body.decode()})
elif path == "/":
    text = f"<!doctype html><h1>shop {VERSION}</h1>"
else:
    kind, status, text = "text/plain", "404 Not Found", "there is no such page"

print(f"Status: {status}\r\nContent-Type: {kind}\r\nX-Version: {VERSION}\r\nX-Colour: {os.environ.get('BLUEGREEN_COLOUR', 'none')}\r")
print(f"X-Request-Id: {os.environ.get('HTTP_X_REQUEST_ID', '')}\r\nContent-Length: {len(text.encode())}\r\n\r")
print(text, end="")
