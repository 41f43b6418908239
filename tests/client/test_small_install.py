"""What a caller installs is small: the client runs without anything of the server's, and costs nothing unasked."""

import subprocess
import sys

SERVERS = (
    "sqlalchemy alembic litestar uvicorn uvloop httptools jsonschema_rs jinja2 click rich prometheus_client "
    "cryptography psycopg glide pyreqwest"
)

ALONE = f"""
import sys
for name in {SERVERS!r}.split():
    sys.modules[name] = None
from ostinato import AsyncClient, Client
client = Client("http://127.0.0.1:1", "ost_x", push=False)
rooms = {{name.split(".")[1] for name in sys.modules if name.startswith("ostinato.")}}
print(sorted(rooms))
"""

LAZY = """
import sys, ostinato
print("httpx" in sys.modules, "ostinato.client" in sys.modules, ostinato.__version__ != "")
try:
    ostinato.nothing
except AttributeError as error:
    print(error)
"""


def run(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_client_needs_nothing_of_the_server():
    assert run(ALONE) == ["['client', 'core', 'templates', 'wire']"]


def test_importing_ostinato_imports_nothing():
    assert run(LAZY) == ["False False True", "module 'ostinato' has no attribute 'nothing'"]
