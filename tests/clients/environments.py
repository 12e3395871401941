"""Environments of their own for clients that cannot live with what the tests run in: older
packages, and every provider's. Kept in the checkout, so that a second run is quick."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2] / ".venv-clients"
INSTALL_SECONDS_MAX: Final = 900

PRESENT: Final = (
    *("paid-python==1.12.0", "openai==3.54.0", "anthropic<1", "mistralai<2", "google-genai"),
    *("boto3", "langchain-openai", "openai-agents"),
)
"""The present generation with all that it wraps. OpenInference's instrumentation of Anthropic knows
no newer client, Paid's wrapper no newer one of Mistral."""

EARLIER: Final = (
    *("paid-python==0.6.0", "openai<2.20", "anthropic<1", "mistralai<2", "google-genai", "boto3"),
    *("langchain-openai", "openai-agents==0.6.2", "llama-index-llms-openai", "llama-index-core"),
)
"""The generation before: its key travels inside the spans, and it has a wrapper of LlamaIndex. With
Agents after 0.6.2 Paid's hook of either generation ends no span."""


def python_with(packages: Sequence[str]) -> Path:
    """The Python of an environment that has these packages, made where it is missing."""
    name = hashlib.blake2b("\n".join(packages).encode(), digest_size=6).hexdigest()
    python = ROOT / name / "bin" / "python"
    done = ROOT / name / "installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", ROOT / name], check=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
            check=True,
            timeout=INSTALL_SECONDS_MAX,
            env={name: text for name, text in os.environ.items() if name != "PYTHONPATH"},
        )
        done.touch()
    return python
