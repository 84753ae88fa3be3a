"""What the API server noted about writes of pods."""

from __future__ import annotations

import datetime
import json
import os

OPERATOR_GROUP = f"system:serviceaccounts:{os.environ.get('OPERATOR_NAMESPACE', 'redkite-operator')}"


def writes_of_operator(audit_log: str, since: float) -> list[str]:
    """Every write that the operator asked for since then, but for its lease. Unit of `since`: seconds of the clock."""
    wrote = []
    with open(audit_log) as log:
        for line in log:
            if OPERATOR_GROUP not in line:
                continue
            event = json.loads(line)
            about = event["objectRef"]
            at = datetime.datetime.fromisoformat(event["requestReceivedTimestamp"].replace("Z", "+00:00")).timestamp()
            if at >= since and about["resource"] != "leases":
                name = "/".join(about.get(key, "") for key in ("resource", "namespace", "name", "subresource") if about.get(key))
                wrote.append(f"{event['verb']} {name}")
    return wrote
