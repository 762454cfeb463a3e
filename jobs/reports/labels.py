"""The table `labels`: what people called clips, read and written without Spark."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from jobs.config.errors import CommandError
from jobs.queries import delta_source
from schemas.labels import TABLE
from udfs.storage.settings import Params as Sources

MAX_LENGTH = 100  # characters of a label or a name


class Label(NamedTuple):
    """What a person called a clip."""

    clip_id: str
    label: str
    who: str

    @property
    def is_short(self) -> bool:
        """Whether every part is there, and none is too long."""
        return all(0 < len(part.strip()) <= MAX_LENGTH for part in self)


def add(output: str, sources: Sources, label: Label) -> None:
    """Give a clip a label; nothing changes if the person gave it already.

    Raises:
        CommandError: the table cannot be written.
    """
    remove(output, sources, label)
    row = {**label._asdict(), "labeled_at": datetime.now(UTC), "fingerprint": "", "run_id": ""}
    rows = pa.Table.from_pylist([row], TABLE.schema)
    try:
        write_deltalake(
            delta_source.table_path("labels", output),
            rows,
            mode="append",
            description=TABLE.about,
            storage_options=delta_source.storage_options(output, sources),
        )
    except (DeltaError, OSError) as e:
        raise CommandError(f"labels: {' '.join(str(e).split())}") from e


def remove(output: str, sources: Sources, label: Label) -> None:
    """Take a label back; nothing changes if it is not there.

    Raises:
        CommandError: the table cannot be written.
    """
    path, options = delta_source.table_path("labels", output), delta_source.storage_options(output, sources)
    if not DeltaTable.is_deltatable(path, options):
        return
    condition = " AND ".join(f"{name} = {_text(value)}" for name, value in label._asdict().items())
    try:
        DeltaTable(path, storage_options=options).delete(condition)
    except (DeltaError, OSError) as e:
        raise CommandError(f"labels: {' '.join(str(e).split())}") from e


def _text(value: str) -> str:
    """A text in the SQL of delta-rs, which knows no escapes but doubled quotes."""
    return "'" + value.replace("'", "''") + "'"
