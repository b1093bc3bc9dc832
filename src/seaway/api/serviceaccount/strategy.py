"""How the API server treats ServiceAccounts. Rule: spec "api-machinery" §0 trap 4, §10.2."""

from __future__ import annotations

from seaway.api.machinery.strategy import Strategy

STRATEGY = Strategy(answers_delete_with_object=True)
