import os
from pathlib import Path

import dj_database_url

SECRET_KEY = os.environ.get("SECRET_KEY") or "not-a-secret-of-anybody"
ALLOWED_HOSTS = ["*"]
DATABASES = {"default": dj_database_url.parse(os.environ["DATABASE_URL"])}
INSTALLED_APPS = ["django.contrib.staticfiles", "notes"]
ROOT_URLCONF = "site_.urls"
WSGI_APPLICATION = "site_.wsgi.application"
STATIC_URL = "static/"
STATIC_ROOT = Path(__file__).parent.parent / "static"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
