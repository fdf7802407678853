from django.http import HttpResponse
from django.urls import path

from notes.models import Note

urlpatterns = [path("", lambda request: HttpResponse(Note.objects.first().text))]
