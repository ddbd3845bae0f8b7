"""What is there: the answer to ``GET /``, for programs and for people."""

from __future__ import annotations

import json
import shlex
from html import escape
from typing import Any

from serving.errors import RequestError
from serving.example_request import example_of
from serving.runtime.manager import ModelManager

_STYLE = (
    "body{font:15px system-ui,sans-serif;max-width:56em;margin:2em auto;padding:0 1em;"
    "color-scheme:light dark}pre{overflow-x:auto;padding:.6em;border:1px solid #8888}"
)


def overview(manager: ModelManager, metrics_path: str | None) -> dict[str, Any]:
    """Models, versions, programs and the paths to ask.

    Args:
        manager: of the server.
        metrics_path: of Prometheus's page, if there is one.

    Returns:
        ``{"models": [{"name", "versions", "programs", "paths"[, "example"]}], "paths"}``;
        ``example`` is the body of a request, of models of generated data only: that of others is
        their owner's.
    """
    paths = {"health": "/healthz", **({"metrics": metrics_path} if metrics_path else {})}
    return {"models": [_model(manager, name) for name in sorted(manager.settings)], "paths": paths}


def _model(manager: ModelManager, name: str) -> dict[str, Any]:
    base = f"/v1/models/{name}"
    found: dict[str, Any] = {"name": name, "versions": [], "programs": {}}
    try:
        found["versions"] = [
            {"version": str(one.version), "state": one.state.name} for one in manager.versions(name)
        ]
        with manager.use(name) as servable:
            found["programs"] = {
                program: {side: signature[side] for side in ("inputs", "outputs")}
                for program, signature in servable.backend.signatures.items()
            }
    except RequestError:  # it has no version that answers
        pass
    found["paths"] = {
        "predict": f"POST {base}:predict", "status": base, "metadata": f"{base}/metadata",
    }  # fmt: skip
    example = example_of(manager.settings[name].location.path)
    return {**found, **({"example": example} if example else {})}


def page(found: dict[str, Any], address: str) -> str:
    """``overview`` as HTML.

    Args:
        found: what ``overview`` gave.
        address: host and port as the browser has them.
    """
    parts = ["<h1>Seqloom model server</h1>"]
    for model in found["models"]:
        states = ", ".join(f"{one['version']} ({one['state']})" for one in model["versions"])
        parts.append(f"<h2>{escape(model['name'])}</h2><p>versions: {escape(states) or 'none'}</p>")
        for name, program in model["programs"].items():
            sides = "\n".join(
                f"{side}: {tensor} {spec['dtype']} {spec['shape']}"
                for side in ("inputs", "outputs") for tensor, spec in program[side].items()
            )  # fmt: skip
            parts.append(f"<h3>{escape(name)}</h3><pre>{escape(sides)}</pre>")
        paths = model["paths"]
        parts.append(
            f"<p>{escape(paths['predict'])}</p>"
            f'<p><a href="{escape(paths["status"])}">status</a> '
            f'<a href="{escape(paths["metadata"])}">metadata</a></p>'
        )
        if "example" in model:
            path = paths["predict"].removeprefix("POST ")
            body = shlex.quote(json.dumps(model["example"], ensure_ascii=False))
            line = f"curl -d {body} http://{address}{path}"
            parts.append(f"<pre>{escape(line)}</pre>")
    links = (f'<a href="{escape(path)}">{escape(n)}</a>' for n, path in found["paths"].items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Seqloom model server</title><style>{_STYLE}</style></head><body>"
        f"{''.join(parts)}<p>{' '.join(links)}</p></body></html>\n"
    )
