"""A visitor of the page without a browser: presses its buttons as the browser's own code does, over the same requests.

`Visitor(address).press("generate-go", generate_prompt="a red dress")` begins what the button with that `elem_id`
begins, with the values that the components have at first but for those named, and returns the last updates.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
from gradio_client.utils import apply_diff

Heard = Callable[[dict[int, Any]], None]


class Visitor:
    """One session of the page at `address`, which is that of a browser's tab."""

    def __init__(self, address: str, *, timeout: float = 600.0) -> None:
        self.address, self.session = address.rstrip("/"), secrets.token_hex(6)
        self.http = httpx.Client(timeout=timeout)
        config = self.http.get(f"{self.address}/config").json()
        self.parts = {part["id"]: part for part in config["components"]}
        self.named = {part["props"].get("elem_id"): part["id"] for part in config["components"]}
        self.events = config["dependencies"]
        self.values: dict[int, Any] = {at: part["props"].get("value") for at, part in self.parts.items()}

    def set(self, **fields: Any) -> None:
        """Put values into components, named by their `elem_id` with _ for -."""
        for name, value in fields.items():
            self.values[self.named[name.replace("_", "-")]] = value

    def read(self, elem_id: str) -> Any:
        """Return what a component shows."""
        return self.values[self.named[elem_id]]

    def press(self, elem_id: str, kind: str = "click", heard: Heard | None = None, **fields: Any) -> None:
        """Let an event of a component happen, and those that follow it; `heard` gets the values by id at each update.

        Raises:
            RuntimeError: the page refused it.
        """
        self.set(**fields)
        begun = [at for at, event in enumerate(self.events) if [self.named[elem_id], kind] in event["targets"]]
        for at in begun:
            self._happen(at, heard)

    def _happen(self, number: int, heard: Heard | None) -> None:
        event = self.events[number]
        if event["backend_fn"]:
            for answer in self._answers(event):
                self.take(event, answer)
                if heard is not None:
                    heard(self.values)
        self.follow(event, heard)

    def follow(self, event: dict[str, Any], heard: Heard | None = None) -> None:
        """Let happen what follows the success of an event."""
        for other, later in enumerate(self.events):
            if later["trigger_after"] == event["id"] and not later["trigger_only_on_failure"]:
                self._happen(other, heard)

    def _answers(self, event: dict[str, Any]) -> Iterator[list[Any]]:
        data = [self.values[at] for at in event["inputs"]]
        yield from self.ask(event["id"], data, queue=event["queue"])

    def ask(self, number: int, data: list[Any], *, queue: bool = True, event_data: Any = None) -> Iterator[list[Any]]:
        """Send values to the function of an event, and yield each of its answers.

        Raises:
            RuntimeError: it was refused, or failed; the text is what a browser is told.
        """
        body = {"data": data, "fn_index": number, "session_hash": self.session, "event_data": event_data}
        if not queue:
            answer = self.http.post(f"{self.address}/gradio_api/run/predict", json=body)
            if answer.status_code != 200:
                raise RuntimeError(answer.text)
            yield answer.json()["data"]
            return
        joined = self.http.post(f"{self.address}/gradio_api/queue/join", json=body)
        if joined.status_code != 200:
            raise RuntimeError(joined.text)
        yield from self._heard(joined.json()["event_id"])

    def _heard(self, event_id: str) -> Iterator[list[Any]]:
        address, shown = f"{self.address}/gradio_api/queue/data", None
        with self.http.stream("GET", address, params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                said = json.loads(line[5:]) if line.startswith("data:") else {}
                if said.get("event_id") != event_id:
                    continue
                kind, output = said["msg"], said.get("output") or {}
                if kind == "process_completed" and not said["success"]:
                    raise RuntimeError(json.dumps(output))
                if kind == "process_generating":
                    shown = output["data"] if shown is None else [
                        apply_diff(one, diff) for one, diff in zip(shown, output["data"], strict=True)]  # fmt: skip
                    yield shown
                if kind == "process_completed":
                    if shown is None:
                        yield output["data"]
                    return

    def take(self, event: dict[str, Any], answer: list[Any]) -> None:
        """Put the answer of an event into the components."""
        for at, value in zip(event["outputs"], answer, strict=False):
            if isinstance(value, dict) and value.get("__type__") == "update":
                if "value" in value:
                    self.values[at] = value["value"]
            else:
                self.values[at] = value

    def upload(self, name: str, data: bytes, kind: str = "image/png") -> dict[str, Any]:
        """Send a file, as a browser does before the event of its component; return the value of it."""
        answer = self.http.post(f"{self.address}/gradio_api/upload", files={"files": (name, data, kind)})
        answer.raise_for_status()
        path = answer.json()[0]
        return {"path": path, "orig_name": name, "size": len(data), "meta": {"_type": "gradio.FileData"}}

    def file(self, path: str) -> bytes:
        """Return a file that the page shows, by its path there."""
        answer = self.http.get(f"{self.address}/gradio_api/file={path}")
        answer.raise_for_status()
        return answer.content

    def close(self) -> None:
        """Let the connection go."""
        self.http.close()


def line_of(html: str | None) -> str:
    """Return the words of a tab's line."""
    text = str(html or "")
    return text.partition('class="line">')[2].partition("</span>")[0]


def patient(ready: Callable[[], bool], *, seconds: float = 60.0) -> None:
    """Wait until something is so.

    Raises:
        TimeoutError: it did not come in time.
    """
    until = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > until:
            raise TimeoutError(f"it did not come within {seconds:.0f} s")
        time.sleep(0.02)
