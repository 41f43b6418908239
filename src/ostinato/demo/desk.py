"""The control plane as the demo uses it: three people with keys of their own, and plain HTTP calls."""

from typing import Any

import httpx

from ostinato.demo.child import DemoError

_SECONDS = 60.0


class Desk:
    """Whoever holds ``key``, at the control plane of the gateway at ``url``."""

    def __init__(self, url: str, key: str, name: str) -> None:
        self.key = key
        self.name = name
        self._http = httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=_SECONDS)

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **query: str | int) -> Any:
        return self._call("GET", path, None, query)

    def text(self, path: str) -> str:
        """What is there, as text: a report."""
        response = self._http.get(f"/api/v1{path}")
        return self._told("GET", path, response).text

    def post(self, path: str, body: object = None) -> Any:
        return self._call("POST", path, body if body is not None else {}, {})

    def feedback(self, told: dict[str, Any]) -> None:
        """What an end user says of an answer: to the data plane, as an application does."""
        response = self._http.post("/v1/feedback", json=told)
        self._told("POST", "/v1/feedback", response)

    def put(self, path: str, body: object) -> Any:
        return self._call("PUT", path, body, {})

    def _call(self, method: str, path: str, body: object, query: dict[str, str | int]) -> Any:
        try:
            response = self._http.request(method, f"/api/v1{path}", json=body, params=query)
        except httpx.HTTPError as error:
            raise DemoError(f"The gateway does not answer to {method} {path} ({type(error).__name__}).") from error
        return self._told(method, path, response).json()

    def _told(self, method: str, path: str, response: httpx.Response) -> httpx.Response:
        if response.status_code >= 400:
            raise DemoError(f"{method} {path}, asked by {self.name}: {response.status_code}\n{response.text[:600]}")
        return response


class People:
    """Who works at the bank: Ana writes prompts, Rui approves them, an application calls them, the owner runs it."""

    def __init__(self, url: str, owner: str) -> None:
        self.owner = Desk(url, owner, "the owner")
        self.ana = self._hire(url, "ana", "Ana Prado", "prompt-editor")
        self.rui = self._hire(url, "rui", "Rui Dias", "approver")
        made = self.owner.post("/keys", {"name": "support-bot", "role": "service"})
        self.app = Desk(url, str(made["secret"]), "the application")

    def close(self) -> None:
        for desk in (self.owner, self.ana, self.rui, self.app):
            desk.close()

    def _hire(self, url: str, key: str, name: str, role: str) -> Desk:
        person = self.owner.post("/principals", {"key": key, "name": name})
        made = self.owner.post("/keys", {"name": key, "role": role, "principal": person["id"]})
        return Desk(url, str(made["secret"]), name)
