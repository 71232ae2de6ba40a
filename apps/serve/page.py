"""The OpenAPI description as one page of HTML that fetches nothing."""

import html
import json
from collections.abc import Mapping
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h2 { font-size: 1.05rem; margin: 2rem 0 .2rem; } code, pre { font: 14px/1.45 ui-monospace, monospace; }
pre { background: #f5f3f1; padding: .7rem 1rem; border-radius: 8px; overflow-x: auto; }
td, th { text-align: left; padding: .15rem 1rem .15rem 0; vertical-align: top; }
@media (prefers-color-scheme: dark) { body { background: #1c1a19; color: #eee; } pre { background: #2a2726; } }
"""


def page_of(description: Mapping[str, Any]) -> str:
    """Write an OpenAPI description (a JSON object) as HTML."""
    head, schemas = description["info"], description.get("components", {}).get("schemas", {})
    parts = [f"<h1>{html.escape(head['title'])}</h1><p>{html.escape(head['description'])} ",
             '<a href="openapi.json">openapi.json</a></p>']  # fmt: skip
    for path, methods in description["paths"].items():
        for method, about in methods.items():
            parts.append(f"<h2><code>{method.upper()} {html.escape(path)}</code></h2>")
            parts.append(f"<p>{html.escape(about.get('summary', ''))}</p>")
            content = about.get("requestBody", {}).get("content", {}).get("application/json")
            if content:
                parts.append(_fields(schemas[content["schema"]["$ref"].rpartition("/")[2]]))
    return (f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(head["title"])}</title>'
            f"<style>{STYLE}</style><body>{''.join(parts)}</body></html>")  # fmt: skip


def _fields(schema: Mapping[str, Any]) -> str:
    """Write the fields of a body as a table."""
    needed, rows = schema.get("required", []), []
    for name, about in schema["properties"].items():
        default = "needed" if name in needed else json.dumps(about.get("default"))
        kinds = {one.get("type", "") for one in (about, *about.get("anyOf", ())) if one.get("type")} - {"null"}
        cells = (f"<code>{name}</code>", html.escape(" or ".join(sorted(kinds))), html.escape(default),
                 html.escape(about.get("description", "")))  # fmt: skip
        rows.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return (f"<p>{html.escape(schema.get('description', ''))}</p><table><tr><th>field</th><th>type</th>"
            f"<th>default</th><th></th></tr>{''.join(rows)}</table>")  # fmt: skip
