"""Stand-ins of the Hugging Face hub and of ModelScope on the loopback interface, as far as their clients ask."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONVERTED = "fedcba9876543210fedcba9876543210fedcba98"


class Hub:
    """Repositories, and what was asked of them."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}  # data sets: name -> path -> content
        self.converted: dict[str, dict[str, bytes]] = {}  # the branch refs/convert/parquet
        self.models: dict[str, dict[str, str]] = {}  # name -> branch or tag -> commit
        self.states: dict[str, dict[str, bytes]] = {}  # commit -> path -> content
        self.sizes: dict[str, int] = {}  # what is told of a model's file instead of its size
        self.gated: set[str] = set()
        self.cuts: list[int] = []  # after how many bytes of a body the line goes dead, file by file
        self.fetched: list[tuple[str, str | None]] = []  # path, Range
        self.tokens: list[str | None] = []
        self.url = ""

    def publish(self, name: str, files: dict[str, bytes], revision: str = "main") -> str:
        """Put a model's files on a branch or a tag; the commit."""
        content = repr((name, sorted(files.items()))).encode()
        commit = hashlib.sha1(content).hexdigest()
        self.models.setdefault(name, {})[revision] = commit
        self.states[commit] = files
        return commit

    def paths(self) -> list[str]:
        return [path for path, _ in self.fetched]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.tokens.append(self.headers.get("Authorization"))
        url = urlsplit(self.path)
        path, query = unquote(url.path), parse_qs(url.query)
        for pattern, answer in (
            (r"/api/(datasets|models)/([^/]+/[^/]+)(?:/revision/(.+))?", self._info),
            (r"/api/(datasets|models)/([^/]+/[^/]+)/tree/([^/]+)", self._tree),
            (r"/(datasets)?/?([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._file),
            (r"/api/v1/(datasets)/([^/]+/[^/]+)/repo/tree", lambda *at: self._modelscope_tree(*at, query)),
            (r"/api/v1/(models)/([^/]+/[^/]+)/repo/files", lambda *at: self._modelscope_files(*at, query)),
            (r"/api/v1/(datasets|models)/([^/]+/[^/]+)/repo",
             lambda *at: self._file(*at, query.get("Revision", [None])[0], query["FilePath"][0])),
            (r"/api/v1/(datasets|models)/([^/]+/[^/]+)", self._modelscope_info),
        ):  # fmt: skip
            match = re.fullmatch(pattern, path)
            if match:
                return answer(*match.groups())
        return self._json({"error": "no such page"}, 404)

    def _files(self, kind: str | None, name: str, revision: str | None) -> dict[str, bytes] | None:
        if kind == "datasets":
            converted = revision in (CONVERTED, "refs/convert/parquet")
            return (self.hub.converted if converted else self.hub.repositories).get(name)
        return self.hub.states.get(self._commit(kind, name, revision)) if name in self.hub.models else None

    def _commit(self, kind: str | None, name: str, revision: str | None) -> str:
        if kind == "datasets":
            return CONVERTED if revision == "refs/convert/parquet" else COMMIT
        branch = "main" if revision in (None, "master") else str(revision)
        return self.hub.models[name].get(branch, branch)

    def _size(self, path: str, content: bytes) -> int:
        return self.hub.sizes.get(path, len(content))

    def _info(self, kind: str, name: str, revision: str | None) -> None:
        files = self._files(kind, name, revision)
        if files is None:
            known = name in (self.hub.repositories if kind == "datasets" else self.hub.models)
            code = "RevisionNotFound" if known else "RepoNotFound"
            return self._json({"error": code}, 404, {"X-Error-Code": code})
        commit = self._commit(kind, name, revision)
        siblings = [{"rfilename": path, "size": self._size(path, content)} for path, content in files.items()]
        return self._json({"id": name, "sha": commit, "siblings": siblings, "private": False, "tags": [],
                           "downloads": 0, "likes": 0})  # fmt: skip

    def _tree(self, kind: str, name: str, revision: str) -> None:
        files = self._files(kind, name, revision) or {}
        self._json([{"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                    for path, content in files.items()])  # fmt: skip

    def _file(self, kind: str | None, name: str, revision: str | None, path: str) -> None:
        if name in self.hub.gated:
            return self._json({"error": "gated"}, 403, {"X-Error-Code": "GatedRepo"})
        content = (self._files(kind, name, revision) or {}).get(path)
        if content is None:
            return self._json({"error": "EntryNotFound"}, 404, {"X-Error-Code": "EntryNotFound"})
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        start = int(wanted[1]) if wanted else 0
        end = int(wanted[2]) + 1 if wanted and wanted[2] else len(content)
        if self.command == "GET":
            self.hub.fetched.append((path, self.headers.get("Range")))
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content[start:end])))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header(
            "X-Repo-Commit",
            revision if kind == "datasets" and revision else self._commit(kind, name, revision),
        )
        self.end_headers()
        if self.command == "GET":
            part = content[start:end]
            if self.hub.cuts:
                self.wfile.write(part[: self.hub.cuts.pop(0)])
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
                return None
            self.wfile.write(part)
        return None

    def _modelscope_info(self, kind: str, name: str) -> None:
        if self._files(kind, name, None) is None:
            return self._json({"Code": 10010205001, "Message": "not found", "Success": False}, 404)
        owner, repository = name.split("/")
        return self._json({"Code": 200, "Success": True,
                           "Data": {"Id": f"{owner}/{repository}", "Type": 1, "Name": repository}})  # fmt: skip

    def _modelscope_files(self, kind: str, name: str, query: dict[str, list[str]]) -> None:
        listed = self._modelscope_listed(kind, name, query["Revision"][0])
        if listed is not None:
            self._json({"Code": 200, "Success": True, "Data": {"Files": listed}})

    def _modelscope_listed(
        self, kind: str, name: str, revision: str | None
    ) -> list[dict[str, object]] | None:
        files = self._files(kind, name, revision)
        if files is None:
            self._json({"Code": 10010205001, "Message": "not found", "Success": False}, 404)
            return None
        return [
            {"Path": path, "Name": path.rpartition("/")[2], "Type": "blob", "Size": self._size(path, content),
             "Sha256": hashlib.sha256(content).hexdigest(), "Revision": "1" * 40}
            for path, content in files.items()
        ]  # fmt: skip

    def _modelscope_tree(self, kind: str, name: str, query: dict[str, list[str]]) -> None:
        listed = self._modelscope_listed(kind, name, None)
        if listed is None:
            return None
        number, size = int(query["PageNumber"][0]), int(query["PageSize"][0])
        page = listed[(number - 1) * size : number * size]
        return self._json({"Code": 200, "Success": True, "Data": {"Files": page, "TotalCount": len(listed)}})

    def _json(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, content in (headers or {}).items():
            self.send_header(name, content)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextmanager
def standing_in() -> Iterator[Hub]:
    """A hub that answers at `url` while the block runs."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def going_to(hub: Hub, cache, monkeypatch) -> Iterator[Hub]:
    """Both clients ask the stand-in, and keep what they fetch in `cache`."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
    monkeypatch.setenv("MODELSCOPE_DOMAIN", hub.url)
    monkeypatch.setenv("MODELSCOPE_CACHE", str(cache / "modelscope"))
    monkeypatch.setenv("MODELSCOPE_HOME", str(cache / "modelscope-home"))
    # ModelScope's client reads its settings once a process.
    monkeypatch.setattr("modelscope_hub.config._default_config", None)
    yield hub
