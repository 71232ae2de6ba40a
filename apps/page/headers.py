"""Headers of every answer: nothing from outside, no frame around the page, no guessing of kinds of files."""

from typing import Any

CONTENT = {
    "default-src": "'self'", "script-src": "'self' 'unsafe-inline' 'unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:", "font-src": "'self' data:", "connect-src": "'self' data: blob:",
    "media-src": "'self' data: blob:", "worker-src": "'self' blob:", "object-src": "'none'", "base-uri": "'self'",
    "form-action": "'self'", "frame-ancestors": "'none'",
}  # fmt: skip
"""The library beneath writes scripts into its page and evaluates templates; both are its own."""
HEADERS = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in CONTENT.items()),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Headers:
    """An ASGI application around another that adds `HEADERS` to each of its answers."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                ours = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                named = {name for name, _ in ours}
                message["headers"] = [one for one in message.get("headers", []) if one[0].lower() not in named] + ours
            await send(message)

        await self.app(scope, receive, with_headers)
