import os

from flask import Flask
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy

database = SQLAlchemy()


class Note(database.Model):
    id = database.Column(database.Integer, primary_key=True)
    text = database.Column(database.String(80))


def create_app():
    app = Flask(__name__)
    url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    database.init_app(app)
    Migrate(app, database)

    @app.get("/")
    def page():
        return database.session.query(Note).first().text

    return app
