"""A project's rows gone through in pieces: what is read, checked, divided and written takes no more memory for more rows."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from sluice.core import spread
from sluice.core.scratch import scratch
from sluice.data.blocks import ID, KEY, USE, Blocks
from sluice.data.checks.subject import Side
from sluice.data.columns import usable
from sluice.data.config import DataConfig
from sluice.data.digests import row_texts
from sluice.data.forms import form_of_files
from sluice.data.packed import PACKED
from sluice.data.parts import keeping
from sluice.data.scheme import Found
from sluice.data.splits import SPLITS, Piece, Splitter
from sluice.problems.units import GROUP
from sluice.stats import tally

if TYPE_CHECKING:
    from sluice.fields import Field

#: What a source takes in memory where it is read whole, as a multiple of its files' bytes.
_TAKES = {"csv": 6, "jsonl": 5, "parquet": 15}


def form_in_pieces(found: list[Found] | pa.Table, data: DataConfig) -> str | None:
    """The form of files that are gone through in pieces; None: they are read whole, since they are of another form or fit."""
    if not isinstance(found, list) or any(f.path.is_dir() for f in found) or any(f.path.suffix.lower() in PACKED for f in found):
        return None
    form = form_of_files(found, data.format)
    if form not in _TAKES:
        return None
    takes = sum(f.path.stat().st_size for f in found) * _TAKES[form]
    return form if data.engine != "auto" or takes > data.bytes_of_memory else None


@contextlib.contextmanager
def bounded(data: DataConfig, base_dir: Path | None = None) -> Iterator[Path]:
    """A folder for pieces, gone at the end; columns are sorted within ``data.memory``, the workers that ``data.engine`` names are there, and the
    source's parts are seen where ``data.parts`` says so.

    Raises:
        MissingExtra: they need an optional package.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch("sluice-rows-"))
        stack.enter_context(_pages_kept())
        stack.enter_context(tally.held(data.bytes_of_memory // 64))
        stack.enter_context(keeping(data.parts, base_dir))
        if data.engine == "ray":
            from sluice.core import onray

            onray.installed()
            stack.enter_context(spread.working(lambda: stack.enter_context(onray.on_ray(data.bytes_of_memory // 4))))
        yield folder


@contextlib.contextmanager
def _pages_kept() -> Iterator[None]:
    """Within: Arrow takes memory from jemalloc, which gives pages back a second after they were freed and so finds them again for the next piece.

    mimalloc, Arrow's default, gives them back after 10 ms: the kernel then clears each piece's pages anew.
    """
    before = pa.default_memory_pool()
    try:
        pool = before if os.environ.get("ARROW_DEFAULT_MEMORY_POOL") else pa.jemalloc_memory_pool()
    except NotImplementedError:  # not built into this Arrow
        pool = before
    pa.set_memory_pool(pool)
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def usable_pieces(side: Side) -> Iterator[tuple[NDArray[np.int64], Piece]]:
    """The rows that can be used, a piece at a time, with their numbers."""
    apart = [KEY] if KEY in side.held.schema.names else []
    told = USE in side.held.schema.names  # of rows that are large, so that they are not read for this
    for first, ids, block in side.numbered([*([USE] if told else [f.name for f in side.fields.values() if f.lacks]), "label", *apart]):
        every = np.asarray(block.column(USE) if told else usable(block, side.fields.values()))
        keys = block.column(KEY) if apart else None if side.keys is None else side.keys.slice(first, block.num_rows)
        if every.all():
            yield np.arange(first, first + len(every)), Piece(ids, block.column("label"), keys)
            continue
        use = np.flatnonzero(every)
        taken = pa.array(use)
        yield use + first, Piece(ids[use], block.column("label").take(taken), None if keys is None else keys.take(taken))


def divided(
    held: Blocks, fields: Mapping[str, Field], made: Splitter, grouped: bool, trained: list[NDArray[np.uint8]]
) -> tuple[Sequence[str], Iterator[Mapping[str, pa.Table]]]:
    """The splits, and the rows of each as a dataset stores them, a piece at a time.

    Args:
        held, fields, made, grouped: the rows, their features, the side of each, whether groups are kept.
        trained: takes of each piece, once it has come by, a bit a row: whether it is a training row (`sluice.data.trainrows`).
    """
    names, keyed = [*fields, "label"], KEY in held.schema.names
    splits = SPLITS[:2] if made.has_test else SPLITS

    def pieces() -> Iterator[Mapping[str, pa.Table]]:
        for _, block in held.blocks([*names, ID, *([KEY] if keyed else [])]):
            use = usable(block, fields.values())
            every = pc.all(use, min_count=0).as_py()
            block = block if every else block.filter(use)
            ids, keys = np.asarray(block.column(ID)), block.column(KEY) if keyed else None
            sided, out = made.sides(Piece(ids, block.column("label"), keys)), {}
            mine = np.asarray(use).copy()
            mine[mine] = sided == 0
            trained.append(np.packbits(mine))
            whole = block.select(names).combine_chunks()
            for i, name in enumerate(splits):
                mine = np.flatnonzero(sided == i)
                kept = whole.take(pa.array(mine)).add_column(0, "row_id", pa.chunked_array([row_texts(ids[mine])]))
                out[name] = kept.append_column(GROUP, keys.take(pa.array(mine))) if grouped and keys is not None else kept
            yield out

    return splits, pieces()
