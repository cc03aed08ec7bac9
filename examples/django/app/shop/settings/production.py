"""For the site. Secrets lie outside of the release, in a file that is copied beside it when a rollout starts."""
import json
import os
from pathlib import Path

from .base import *  # noqa: F403

DEBUG = False
ALLOWED_HOSTS = os.environ["ALLOWED_HOSTS"].split(",")
SECRET_KEY = json.loads((Path(os.environ["BLUEGREEN_CONFIG"]) / "django.json").read_text())["secretKey"]
# The web server sets this header itself, whatever a client says.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
LOGGING = {"version": 1, "handlers": {"console": {"class": "logging.StreamHandler"}}, "root": {"handlers": ["console"]}}
