"""For a developer's own machine."""
from .base import *  # noqa: F403

DEBUG = True
SECRET_KEY = "for nothing but development"
ALLOWED_HOSTS = ["*"]
