import os

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST


def marked(request: HttpRequest, answer: HttpResponse) -> HttpResponse:
    """Says which version answered which request."""
    answer["X-Version"] = settings.VERSION
    answer["X-Colour"] = os.environ.get("BLUEGREEN_COLOUR", "none")
    answer["X-Request-Id"] = request.headers.get("X-Request-Id", "")
    return answer


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    page = f'<!doctype html><link rel="stylesheet" href="/static/shop.css"><h1>shop {settings.VERSION}</h1>'
    return marked(request, HttpResponse(page))


@require_GET
def healthz(request: HttpRequest) -> HttpResponse:
    # Whatever the site can't do without (a database) is asked here.
    return HttpResponse("ok", content_type="text/plain")


@csrf_exempt
@require_POST
def order(request: HttpRequest) -> HttpResponse:
    return marked(request, HttpResponse('{"bytes":%d}' % len(request.body), content_type="application/json"))


@require_GET
def about(request: HttpRequest) -> HttpResponse:
    """Whether its secret reached the app; never the secret itself."""
    return JsonResponse({"secretKeyLength": len(settings.SECRET_KEY)})


@require_GET
def seen(request: HttpRequest) -> HttpResponse:
    """What the app knows of its client."""
    return JsonResponse(
        {
            "host": request.get_host(),
            "scheme": request.scheme,
            "path": request.path,
            "url": request.build_absolute_uri(),
        }
    )
