"""`streamvis schema`: the JSON Schema of a pipeline file, for editors and CI."""

from __future__ import annotations

import json
from typing import Any

from streamvis.topology import SHORT_FORMS, PipelineConfig


def schema() -> None:
    """Print the JSON Schema of pipeline files."""
    print(pipeline_schema())


def pipeline_schema() -> str:
    """The schema as text. Every mapping may also `use` another file, so nothing is required
    where that file may hold it."""
    document = PipelineConfig.model_json_schema()
    _allow_use(document)
    short_forms: list[dict[str, Any]] = [{"type": "string"}]
    for key in SHORT_FORMS:
        document["$defs"]["OutputConfig"]["properties"][key]["anyOf"] += short_forms
    options = document["properties"]["sources"]["additionalProperties"]
    document["properties"]["sources"]["additionalProperties"] = {
        "anyOf": [options, {"type": "null"}]
    }
    return json.dumps(document, indent=2)


def _allow_use(document: dict[str, Any]) -> None:
    for model in [document, *document["$defs"].values()]:
        if "properties" in model:
            model["properties"]["use"] = {
                "type": "string",
                "description": "Another YAML file whose keys stand here",
            }
            model.pop("required", None)
