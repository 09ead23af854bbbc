"""As much of a Hugging Face hub as its filesystem asks for to read a data set's repository."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from .servers import Address, Store, serving

REPOSITORY = "someone/images"
COMMIT = "0" * 40


@contextmanager
def fake_hub(folder: Path) -> Iterator[Store]:
    """A hub with one data set, whose files are those of a folder."""
    hub = _Hub(folder)
    application = web.Application()
    api = f"/api/datasets/{REPOSITORY}"
    application.router.add_get(api, hub.repository)
    application.router.add_get(f"{api}/revision/{{revision}}", hub.repository)
    application.router.add_get(f"{api}/tree/{{revision}}", hub.tree)
    application.router.add_get(f"{api}/tree/{{revision}}/{{path:.+}}", hub.tree)
    application.router.add_post(f"{api}/paths-info/{{revision}}", hub.paths)
    application.router.add_get(f"/datasets/{REPOSITORY}/resolve/{{revision}}/{{path:.+}}", hub.content)
    application.router.add_get("/api/datasets/{rest:.+}", hub.nowhere)
    with serving(application) as port:
        yield Store("hf", port, hub_address)


def hub_address(port: int, timeout: float) -> Address:
    """The data set on the hub at a port; the driver's time-out can't be set by an option."""
    options = {"endpoint": f"http://127.0.0.1:{port}", "token": False}
    return Address(f"hf://datasets/{REPOSITORY}/shards", options)


class _Hub:
    def __init__(self, folder: Path) -> None:
        self._files = {f"shards/{file.name}": file for file in sorted(folder.iterdir())}

    async def repository(self, request: web.Request) -> web.Response:
        return web.json_response({"id": REPOSITORY, "sha": COMMIT, "private": False, "tags": [], "siblings": []})

    async def nowhere(self, request: web.Request) -> web.Response:
        return self._unknown("RepoNotFound")

    async def tree(self, request: web.Request) -> web.Response:
        folder = request.match_info.get("path", "")
        found = [entry for path in self._files if path.startswith(folder) and (entry := self._entry(path))]
        if not found:
            return self._unknown("EntryNotFound")
        return web.json_response(found if folder else [{"type": "directory", "path": "shards", "oid": COMMIT}, *found])

    async def paths(self, request: web.Request) -> web.Response:
        form = await request.post()
        paths = form.getall("paths", []) if form else (await request.json())["paths"]
        folders: list[dict[str, Any]] = [{"type": "directory", "path": "shards", "oid": COMMIT}] * ("shards" in paths)
        return web.json_response(folders + [self._entry(path) for path in map(str, paths) if path in self._files])

    async def content(self, request: web.Request) -> web.StreamResponse:
        file = self._files.get(request.match_info["path"])
        return web.FileResponse(file) if file else self._unknown("EntryNotFound")

    def _entry(self, path: str) -> dict[str, Any]:
        content = self._files[path].read_bytes()
        return {"type": "file", "path": path, "oid": hashlib.sha1(content).hexdigest(), "size": len(content)}

    @staticmethod
    def _unknown(code: str) -> web.Response:
        return web.json_response({"error": code}, status=404, headers={"X-Error-Code": code})
