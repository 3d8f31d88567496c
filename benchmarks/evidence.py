"""Tables and pictures from results/training.jsonl and results/measure.json: python benchmarks/evidence.py."""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def read(path: Path) -> list[dict[str, Any]]:
    """The runs, without the lines that describe sessions; a last line that is cut short is left out."""
    records = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return [record for record in records if "task" in record]


def table(records, task):
    rows = [r for r in records if r["task"] == task]
    return "\n".join(str((r["loss"], r["seed"], r["rate"], r["choosing"], r["seconds"], r["figures"])) for r in rows)
