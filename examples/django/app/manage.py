#!/usr/bin/env python3
"""Django's own tool: `python manage.py runserver`, `migrate`, `test`."""
import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings.development")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
