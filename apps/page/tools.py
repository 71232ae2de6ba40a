"""The page for assistants: the endpoints of `api` as tools of the Model Context Protocol (MCP), at /gradio_api/mcp.

A tool is described by its endpoint's own fields, does its work by the same function, within the same limits, in the
same line and with the same key. Files come and go inside the messages: nothing is fetched from anywhere.
"""

import asyncio
import base64
import inspect
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

from recsys.errors import DataError

from .shared import excuse

LARGEST, MOST_BACK = 64_000_000, 32_000_000
"""Bytes of a request, and of a file that is handed over."""
TYPES = {"textbox": "string", "slider": "number", "number": "integer", "dropdown": "string", "checkbox": "boolean",
         "json": "array", "file": "string"}  # fmt: skip
"""JSON's types of what fields take, by the library's names of the fields."""
TEXTS = {".json": "application/json", ".md": "text/markdown"}
GIVEN = re.compile(r"data:[\w.+-]*/?[\w.+-]*;base64,")
AS_DATA = "a file is given in the message, as data:image/png;base64,… with its bytes in base64"


@dataclass(frozen=True)
class Tool:
    """An endpoint: what does its work, its fields by name, and the folder of the page."""

    function: Callable[..., Any]
    fields: dict[str, Any]
    folder: Path

    def described(self) -> types.Tool:
        """Return the tool as assistants learn of it."""
        said = inspect.cleandoc(self.function.__doc__ or "").replace("\n", " ")
        return types.Tool(name=self.function.__name__, description=said, input_schema=self.schema())

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of what is given; what has neither a value nor a default has to be."""
        known = inspect.signature(self.function).parameters
        needed = [name for name, field in self.fields.items()
                  if field.value is None and known[name].default is inspect.Parameter.empty]  # fmt: skip
        properties = {name: _described(field) for name, field in self.fields.items()}
        return {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}

    def values(self, given: dict[str, Any], uploads: Path) -> list[Any]:
        """Return the values of the fields in their order; files are written below `uploads`.

        Raises:
            DataError: one is missing, unknown, of another kind or beyond its limits, or a file is no data.
        """
        wrong = jsonschema.Draft202012Validator(self.schema()).iter_errors(given)
        for error in wrong:
            where = "".join(f"{part}: " for part in error.absolute_path)
            raise DataError(f"{where}{error.message[:200]}; see the tool's description")
        return [_value(name, field, given.get(name), uploads) for name, field in self.fields.items()]


def _described(field: Any) -> dict[str, Any]:
    """Return the JSON schema of a field."""
    kind = field.get_block_name()
    said: dict[str, Any] = {"type": TYPES[kind], "description": field.label}
    if kind == "file":
        said["description"] = f"{field.label}; {AS_DATA}"
        several = field.file_count == "multiple"
        return {"type": "array", "items": {"type": "string"}, "description": said["description"]} if several else said
    if kind == "slider":
        said |= {"minimum": field.minimum, "maximum": field.maximum}
    if kind == "dropdown":
        said["enum"] = [value for _, value in field.choices]
    return said if field.value is None else said | {"default": field.value}


def _value(name: str, field: Any, given: Any, uploads: Path) -> Any:
    if field.get_block_name() != "file":
        return field.value if given is None else given
    if not given:
        return None
    ending = field.file_types[0]
    if isinstance(given, str):
        return _received(given, uploads / f"{name}{ending}")
    return [_received(one, uploads / f"{name}-{at}{ending}") for at, one in enumerate(given)]


def _received(data: str, path: Path) -> str:
    """Write a file that came inside a message; return its path.

    Raises:
        DataError: it is none.
    """
    head = GIVEN.match(data)
    try:
        raw = base64.b64decode(data[head.end() :], validate=True) if head else b""
    except ValueError:
        raw = b""
    if not raw:
        raise DataError(f"{path.stem} is no file; {AS_DATA}")
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_bytes(raw)
    return str(path)


def handed(files: Sequence[str], line: str) -> list[Any]:
    """Return what a tool answers: the line, then the files, whole, by their names alone."""
    parts: list[Any] = [types.TextContent(text=line)]
    for path in map(Path, files):
        uri, data = f"personagen:///{path.name}", path.read_bytes()
        if len(data) > MOST_BACK:
            told = f"{path.name} has {len(data) / 1e6:.0f} MB, too many for a message; gradio's client fetches it"
            parts.append(types.TextContent(text=told))
        elif path.suffix == ".png":
            parts.append(types.ImageContent(data=base64.b64encode(data).decode(), mime_type="image/png"))
        elif path.suffix in TEXTS:
            text = types.TextResourceContents(uri=uri, mime_type=TEXTS[path.suffix], text=data.decode())
            parts.append(types.EmbeddedResource(resource=text))
        else:
            blob = base64.b64encode(data).decode()
            parts.append(types.EmbeddedResource(resource=types.BlobResourceContents(
                uri=uri, mime_type="application/octet-stream", blob=blob)))  # fmt: skip
    return parts


class Assistants:
    """An ASGI application that answers assistants, while `lifespan` lasts."""

    def __init__(self) -> None:
        self.tools: dict[str, Tool] = {}
        server = Server("personagen", on_list_tools=self._listed, on_call_tool=self._called)
        self._manager = StreamableHTTPSessionManager(server, stateless=True, max_request_body_size=LARGEST)

    def add(self, function: Callable[..., Any], inputs: Sequence[Any], folder: Path) -> None:
        """Add an endpoint; its parameters after the first, the request, are those of the fields."""
        names = list(inspect.signature(function).parameters)[1:]
        self.tools[function.__name__] = Tool(function, dict(zip(names, inputs, strict=True)), folder)

    @asynccontextmanager
    async def lifespan(self, _: Any) -> AsyncIterator[None]:
        """Run while the page is open."""
        async with self._manager.run():
            yield

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._manager.handle_request(scope, receive, send)

    async def _listed(self, context: Any, asked: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[tool.described() for tool in self.tools.values()])

    async def _called(self, context: Any, asked: types.CallToolRequestParams) -> types.CallToolResult:
        tool, uploads = self.tools.get(asked.name), None
        try:
            if tool is None:
                raise DataError(f"there is no tool {asked.name[:40]!r}; there are {', '.join(self.tools)}")
            uploads = tool.folder / f"mcp-{secrets.token_hex(16)}"
            values = await asyncio.to_thread(tool.values, asked.arguments or {}, uploads)
            files, line = await _worked(tool.function(context.request, *values), context.session.report_progress)
            return types.CallToolResult(content=await asyncio.to_thread(handed, files, line))
        except Exception as error:
            said = getattr(error, "message", None) or excuse(error)  # the library's errors carry what `excuse` said
            return types.CallToolResult(content=[types.TextContent(text=str(said))], is_error=True)
        finally:
            if uploads is not None:
                shutil.rmtree(uploads, ignore_errors=True)


async def _worked(working: Any, tell: Callable[..., Any]) -> tuple[list[str], str]:
    """Take an endpoint's work to its end, telling how far it is; return its files and last line."""
    files, line, count = list[str](), "", 0
    try:
        while (said := await asyncio.to_thread(next, working, None)) is not None:
            files, line = said[0] or [], said[1]
            count += 1
            await tell(count, None, line)
    finally:
        working.close()  # whoever asked may be gone
    return files, line
