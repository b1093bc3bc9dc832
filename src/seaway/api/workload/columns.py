"""Columns that the kinds with a template of Pods share. Rule: spec "api-machinery" §2.3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seaway.api.machinery.columns import Column, wide

Json = dict[str, Any]
CONTAINERS = wide("Containers", "The containers of the template.")
IMAGES = wide("Images", "The images of the template's containers.")
SELECTOR = wide("Selector", "The labels of the Pods.")


def count(name: str, description: str) -> Column:
    """A column of whole numbers."""
    return Column(name=name, type="integer", description=description)


def containers_and_images(template: Json) -> list[str]:
    """The two cells, each joined by commas."""
    found: Sequence[Json] = template.get("spec", {}).get("containers", ())
    return [",".join(c.get("name", "") for c in found), ",".join(c.get("image", "") for c in found)]
