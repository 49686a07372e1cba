"""What became of each reading of a request."""

from dataclasses import dataclass, field
from typing import Any

LISTED_REJECTIONS = 100


@dataclass(slots=True)
class Receipt:
    """Counts of readings. `rejected` lists the first 100; `rejected_count` counts them all."""

    accepted: int = 0
    duplicates: int = 0
    updated: int = 0
    rejected_count: int = 0
    rejected: list[dict[str, Any]] = field(default_factory=list)

    def reject(self, index: int, metric: str | None, code: str, message: str) -> None:
        """`index` is the place of the message in the request, from 0."""
        self.rejected_count += 1
        if len(self.rejected) < LISTED_REJECTIONS:
            self.rejected.append({"index": index, "metric": metric, "code": code, "message": message})

    @property
    def stored(self) -> int:
        return self.accepted + self.duplicates + self.updated
