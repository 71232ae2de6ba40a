"""What to say when a package is missing that only some commands need."""

from recsys.errors import ConfigError

EXTRAS = {
    "diffusers": "pictures",
    "transformers": "pictures",
    "tokenizers": "pictures",
    "peft": "pictures",
    "pillow_heif": "pictures",
    "gradio": "page",
    "mcp": "page",
    "jsonschema": "page",
    "fastapi": "serve",
    "uvicorn": "serve",
    "pydantic": "serve",
    "prometheus_client": "serve",
    "ray": "scale",
    "usearch": "scale",
    "optuna": "search",
}
"""Packages and the extra of pyproject.toml that brings them."""


def remedy(package: str) -> str:
    """Give the command that installs a package."""
    return f"pip install 'personagen[{EXTRAS[package]}]'" if package in EXTRAS else f"pip install {package}"


def missing(error: ModuleNotFoundError, command: str) -> ConfigError | None:
    """Say in one line which package `command` lacks and how to get it; None where it is none of an extra."""
    package = (error.name or "").partition(".")[0]
    if package not in EXTRAS:
        return None
    run = remedy("gradio" if command == "demo" else package)  # the page's extra brings that of the pictures
    return ConfigError(f"{command} needs {package}, which is not installed; run: {run}")
