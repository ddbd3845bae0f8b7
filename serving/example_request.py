"""One example of what a model is asked, kept in its bundle, and the command that asks it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.ragged import Arrays, Fields, instances
from serving.errors import ServingError

EXAMPLE_FILE = "example.json"
MAX_BYTES = 1_000_000  # of the file
MAX_WRITTEN = 1000  # bytes of a request that a command holds itself


def example_body(requests: Sequence[Arrays], fields: Fields) -> str | None:
    """The shortest of some requests as the JSON body of a REST request.

    Args:
        requests: of ``serving_default``, one row each.
        fields: of the program.

    Returns:
        None where none is short enough to be kept.
    """
    bodies = [
        json.dumps({"instances": instances(request, fields)}, ensure_ascii=False)
        for request in requests
    ]
    body = min(bodies, key=len, default=None)
    return body if body is not None and len(body.encode()) <= MAX_BYTES else None


def read_example(bundle: Path) -> str | None:
    """The body that a bundle keeps; None where it keeps none, or something else than JSON."""
    try:
        text = (bundle / EXAMPLE_FILE).read_text(encoding="utf-8").strip()
        json.loads(text)
    except (OSError, ValueError):
        return None
    return text


def is_public(manifest: dict[str, Any]) -> bool:
    """Whether anybody may see the example of a bundle: it was trained on generated data."""
    data = (manifest.get("config") or {}).get("data") or {}
    return str(data.get("source", "")).partition(":")[0] == "synthetic"


def curl_command(
    bundle: Path,
    model: str,
    port: int,
    host: str = "127.0.0.1",
    token_file: Path | None = None,
    token: bool = False,
    certificate: Path | None = None,
) -> str | None:
    """The command that asks a server the example of its bundle, ready for a shell.

    Args:
        bundle: directory of the bundle.
        model: name of the model in requests.
        port: of the REST API.
        host: address that the server listens on.
        token_file: file of the token that requests must carry.
        token: whether there is one, which is then in SEQLOOM_TOKEN if it is in no file.
        certificate: of the server; it answers over TLS then.

    Returns:
        None where the bundle keeps no example.
    """
    body = read_example(bundle)
    if body is None:
        return None
    host = "localhost" if host in ("127.0.0.1", "0.0.0.0", "::", "::1") else host
    scheme = "http" if certificate is None else "https"
    url = f"{scheme}://{host}:{port}/v1/models/{model}:predict"
    words = ["curl"]
    if certificate is not None:
        words += ["--cacert", shlex.quote(str(certificate))]
    if token:
        value = f"$(cat {shlex.quote(str(token_file))})" if token_file else "$SEQLOOM_TOKEN"
        words += ["-H", f'"Authorization: Bearer {value}"']
    short = len(body.encode()) <= MAX_WRITTEN
    words += ["-d", shlex.quote(body if short else f"@{bundle / EXAMPLE_FILE}")]
    return " ".join([*words, shlex.quote(url)])


def example_of(bundle: Path) -> dict[str, Any] | None:
    """The example of a bundle that anybody may see; None where there is none."""
    from serving.bundle import read_manifest

    try:
        body = read_example(bundle) if is_public(read_manifest(bundle)) else None
    except ServingError:
        return None
    return json.loads(body) if body and len(body.encode()) <= MAX_WRITTEN else None
