"""The server of pages is sent requests that no browser would send: none may end in a 5xx, or show where code failed.

    python benchmarks/pages_fuzzed.py [REQUESTS]     # 10,000 where it is not said; needs the extra `web`

Methods, paths, parameters, headers and bodies are drawn at random, among them those of the pages themselves, with
characters changed; half of them come with the token. After each thousand the page has to stand as before.
"""

from __future__ import annotations

import random
import socket
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import retorno as rt
from retorno.labels import Labels
from retorno.preferences.clips import Clips
from retorno.web import Address, Served, Site

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "get", "\x01"]
PATHS = ["", "compare", "rank", "runs", "file", "_nicegui/", "_nicegui/auto/static", "_nicegui_ws/socket.io/", "docs"]
PARTS = ["..", "%2e%2e", "%00", "\\", "a" * 3000, "%ff", "é", "<script>", "%0d%0aX: y", "//evil.example", "labels.db"]
NAMES = ["run", "file", "name", "language", "dark", "token", "EIO", "transport", "sid", "client_id", "x" * 300]
VALUES = ["", "0", "-1", "4", "polling", "websocket", "../../etc/passwd", "%00", "\x7f", "1e999", "é" * 50, "a" * 9000]
HEADERS = [
    "Cookie",
    "Origin",
    "Content-Length",
    "Transfer-Encoding",
    "Accept-Language",
    "Upgrade",
    "Range",
    "X-Forwarded-For",
]
SHOWN = (b"Traceback", b'File "', b"site-packages")
"""What an answer to a stranger never holds."""


def drawn(rng: random.Random, port: int, token: str) -> bytes:
    """One request."""
    path = "/" + "/".join([rng.choice(PATHS), *rng.choices(PARTS, k=rng.choice([0, 0, 1, 3]))])
    query = [f"{rng.choice(NAMES)}={rng.choice(VALUES)}" for _ in range(rng.choice([0, 1, 3]))]
    if rng.random() < 0.8:
        path, query = quote(path, "/%.-"), [quote(each, "=%.-") for each in query]
    query += [f"token={token}"] * rng.choice([0, 0, 1])
    head = [f"{rng.choice(METHODS[:3] * 8 + METHODS)} {path}{'?' if query else ''}{'&'.join(query)} HTTP/1.1"]
    head += [f"Host: {rng.choice([f'127.0.0.1:{port}'] * 9 + ['evil.example'])}", "Connection: close"]
    head += [f"Cookie: retorno_token_{port}={token}"] * rng.choice([0, 1])
    head += [f"{name}: {rng.choice(VALUES)}" for name in rng.sample(HEADERS, rng.choice([0, 0, 1, 2]))]
    body = rng.randbytes(rng.choice([0, 0, 10, 2_000]))
    head += [f"Content-Length: {len(body)}"] * bool(body)
    whole = bytearray("\r\n".join([*head, "", ""]).encode("utf-8", "surrogateescape") + body)
    for _ in range(rng.choice([0] * 8 + [1, 5])):
        whole[rng.randrange(len(whole))] = rng.randrange(256)
    return bytes(whole)


def answered(port: int, request: bytes, patience: float = 0.5) -> bytes:
    """All that comes back; nothing where a connection is closed, or waits for more."""
    got = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as to:
            to.sendall(request)
            to.settimeout(patience)
            while part := to.recv(65_536):
                got += part
    except OSError:
        pass
    return got


def main() -> None:
    count, rng = int(sys.argv[1]) if sys.argv[1:] else 10_000, random.Random(0)
    labels = Labels.open(Path(tempfile.mkdtemp()) / "labels.db")
    site = Site("fuzzed", labels, clips=Clips(rt.make("Pendulum-v1")), pages=("compare", "rank", "write"))
    served = Served(site, Address(0))
    thread = threading.Thread(target=served.run, daemon=True)
    thread.start()
    port, token = served.address.port, served.address.token
    head = ["GET /compare HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Cookie: retorno_token_{port}={token}"]
    whole = "\r\n".join([*head, "Connection: close", "", ""]).encode()
    statuses: Counter[str] = Counter()
    for number in range(count):
        request = drawn(rng, port, token)
        got = answered(port, request)
        status = got[9:12].decode("latin-1") if got.startswith(b"HTTP/") else "none"
        statuses[status] += 1
        if status.startswith("5") or any(each in got for each in SHOWN):
            sys.exit(f"request {number}: {request!r:.2000}\nwas answered by {got!r:.3000}")
        if number % 1_000 == 999:
            assert answered(port, whole, 30).startswith(b"HTTP/1.1 200"), f"after {number + 1} no page is served"
    print(f"{count:,} requests: {', '.join(f'{name} {n:,}' for name, n in sorted(statuses.items()))}; no 5xx, no trace")
    served.stop()
    thread.join()


if __name__ == "__main__":
    main()
