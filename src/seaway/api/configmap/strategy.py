"""How the API server treats ConfigMaps. Rule: spec "api-machinery" §12."""

from __future__ import annotations

from seaway.api.configmap.validation import validate_config_map, validate_config_map_update
from seaway.api.machinery.strategy import Strategy

STRATEGY = Strategy(validate_create=validate_config_map, validate_update=validate_config_map_update)
