"""Where the checkout lies that is tested: processes are started in it and import from it."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
