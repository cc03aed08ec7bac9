from django.urls import path

from . import views

urlpatterns = [
    path("", views.index),
    path("healthz", views.healthz),
    path("order", views.order),
    path("about", views.about),
    path("seen", views.seen),
]
