"""Does something real with packages that people use; they are on sys.path already.

usage: python packages.py [WORD]...    only the checks whose name contains one of the words

Prints a line for each check, and a traceback for each that failed. Exit status: 0 if all passed, otherwise 1.
"""

# The packages are those of the interpreter under test, not of the checkout.
# mypy: ignore-errors

from __future__ import annotations

import contextlib
import http.server
import io
import os
import ssl
import sys
import tempfile
import threading
import warnings
import wsgiref.simple_server
from collections.abc import Iterator
from pathlib import Path

from checks import check, main

CERTIFICATE = Path(__file__).with_name("localhost.pem")


@contextlib.contextmanager
def served(server: http.server.HTTPServer) -> Iterator[int]:
    """Serve in a thread; the port."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Quiet(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello over TLS")

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def tls_server() -> Iterator[str]:
    """A server with a certificate that no public authority has signed; its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    server = http.server.ThreadingHTTPServer(("localhost", 0), Hello)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with served(server) as port:
        yield f"https://localhost:{port}/"


@check
def django_serves_pages_a_database_and_its_admin() -> None:
    import django
    import requests
    from django.conf import settings
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.template import engines
    from django.urls import path

    directory = tempfile.mkdtemp()
    settings.configure(
        DEBUG=True,
        SECRET_KEY="for tests",
        ALLOWED_HOSTS=["localhost"],
        ROOT_URLCONF=__name__,
        TIME_ZONE="Europe/Berlin",
        USE_TZ=True,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{directory}/db.sqlite3"}},
        INSTALLED_APPS=[
            f"django.contrib.{n}" for n in ("admin", "auth", "contenttypes", "messages", "sessions")
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
    )
    django.setup()
    from django.contrib import admin
    from django.contrib.auth.models import User

    def page(request: object) -> HttpResponse:
        template = engines["django"].from_string(
            "{% for u in users %}{{ u.username }}, {{ text }}{% endfor %}"
        )
        return HttpResponse(template.render({"users": User.objects.all(), "text": "<b>"}))

    globals()["urlpatterns"] = [path("admin/", admin.site.urls), path("", page)]
    call_command("migrate", verbosity=0)
    User.objects.create_superuser("root", password="secret")
    server = wsgiref.simple_server.make_server("localhost", 0, get_wsgi_application(), handler_class=Quiet)
    with served(server) as port, requests.Session() as session:
        address = f"http://localhost:{port}"
        assert session.get(f"{address}/").text == "root, &lt;b&gt;"
        login = session.get(f"{address}/admin/")
        assert "Django administration" in login.text
        form = {
            "username": "root",
            "password": "secret",
            "csrfmiddlewaretoken": session.cookies["csrftoken"],
            "next": "/admin/",
        }
        answer = session.post(login.url, data=form)
        assert "Site administration" in answer.text, answer.text
        listed = session.get(f"{address}/admin/auth/user/")
        assert "1 user" in listed.text, listed.text


@check
def requests_and_httpx_verify_with_an_own_authority() -> None:
    import asyncio

    import httpx
    import requests

    with tls_server() as address:
        assert requests.get(address, verify=str(CERTIFICATE), timeout=60).text == "hello over TLS"
        try:
            requests.get(address, timeout=60)
        except requests.exceptions.SSLError:
            pass
        else:
            raise AssertionError("an unknown authority was trusted")
        context = ssl.create_default_context(cafile=str(CERTIFICATE))
        with httpx.Client(verify=context, timeout=60) as client:
            assert client.get(address).text == "hello over TLS"

        async def many() -> list[str]:
            async with httpx.AsyncClient(verify=context, timeout=60) as client:
                answers = await asyncio.gather(*(client.get(address) for _ in range(8)))
            return [answer.text for answer in answers]

        assert asyncio.run(many()) == ["hello over TLS"] * 8


@check
def pytest_rewrites_assertions_and_reports() -> None:
    import pytest

    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "test_it.py")
        file.write_text(
            "import pytest\n"
            "@pytest.fixture\n"
            "def three():\n"
            "    return 3\n"
            "@pytest.mark.parametrize('n', [3, 4])\n"
            "def test_it(three, n, tmp_path):\n"
            "    assert n == three\n"
        )
        with contextlib.redirect_stdout(io.StringIO()) as output:
            options = [
                "-q",
                "-p",
                "no:cacheprovider",
                f"--rootdir={directory}",
                f"--basetemp={directory}/temp",
            ]
            status = pytest.main([*options, str(file)])
    assert status == 1 and "assert 4 == 3" in output.getvalue(), output.getvalue()
    assert "1 failed, 1 passed" in output.getvalue(), output.getvalue()


@check
def rich_draws_tables_and_highlights() -> None:
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.syntax import Syntax
    from rich.table import Table

    console = Console(file=io.StringIO(), width=40, force_terminal=True, color_system="truecolor")
    table = Table("name", "value")
    table.add_row("π", "[bold]3.14[/bold]")
    console.print(table)
    console.print(Markdown("# Title\n* item"))
    console.print(Syntax("print('x')", "python"))
    text = console.file.getvalue()
    assert "│" in text and "\x1b[1m3.14" in text and "Title" in text and "print" in text, text


@check
def sqlalchemy_maps_objects() -> None:
    from sqlalchemy import Float, ForeignKey, Integer, String, create_engine, func, select
    from sqlalchemy.orm import DeclarativeBase, Session, mapped_column, relationship

    class Base(DeclarativeBase):
        pass

    class Author(Base):
        __tablename__ = "author"
        id = mapped_column(Integer, primary_key=True)
        name = mapped_column(String)
        books = relationship(lambda: Book, back_populates="author")

    class Book(Base):
        __tablename__ = "book"
        id = mapped_column(Integer, primary_key=True)
        price = mapped_column(Float)
        author_id = mapped_column(ForeignKey("author.id"))
        author = relationship(Author, back_populates="books")

    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Author(name="a", books=[Book(price=1.5), Book(price=2)]))
        session.add(Author(name="b", books=[Book(price=3)]))
        session.commit()
        sums = select(Author.name, func.sum(Book.price)).join(Author.books).group_by(Author.name)
        totals = session.execute(sums.order_by(Author.name)).all()
    assert [tuple(row) for row in totals] == [("a", 3.5), ("b", 3.0)], totals


if __name__ == "__main__":
    warnings.simplefilter("ignore", ResourceWarning)
    os._exit(main(sys.argv[1:]))
