"""Pictures with boxes or masks, which no task learns: what each form is, and for boxes a command that keeps which classes a picture holds."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

from sluice.core.errors import DataError

_PICTURES = (".jpg", ".jpeg", ".png")
#: Files that are looked at, and of each its first bytes.
_FILES, _BYTES = 20_000, 4096
#: Class, then four shares of the picture; further ones of an outline.
_YOLO = re.compile(r"\d+( +\d*\.?\d+(e-\d+)?){4,}")
#: Sub-folders of masks.
_MASKS = {"mask", "masks", "labels", "annotations", "gt", "groundtruth", "segmentation", "segmentations", "seg"}
_WRITE = (
    "import csv; w = csv.writer(open('classes.csv', 'w', newline='')); w.writerow(['file', 'label']); "
    "[w.writerow([f, '|'.join(sorted(c))]) for f, c in found if c]"
)
_EACH = f"f in sorted(r.rglob('*')) if f.suffix.lower() in {_PICTURES!r}"


def with_boxes(path: Path) -> DataError | None:
    """COCO's, YOLO's or Pascal VOC's boxes beside pictures.

    Args:
        path: a folder, or COCO's file.

    Returns:
        What it is and what converts it; null where it is something else.
    """
    if path.is_file():
        return _coco(path, path.parent.parent if path.parent.name == "annotations" else path.parent) if path.suffix == ".json" else None
    files = _files(path)
    pictures = {_pair(f) for f in files if f.suffix.lower() in _PICTURES}
    if not pictures:
        return None
    for file in (f for f in files if f.suffix == ".json"):
        if (told := _coco(file, path)) is not None:
            return told
    if any(f.suffix == ".xml" and "<object>" in _head(f) for f in files):
        code = (
            f"import pathlib, xml.etree.ElementTree as e; r = pathlib.Path({str(path)!r}); p = {{f.stem: f for {_EACH}}}; "
            "found = [(p[x.stem], {o.findtext('name') for o in e.parse(x).iter('object')}) for x in sorted(r.rglob('*.xml')) if x.stem in p]; "
        )
        return _told(path, "boxes in Pascal VOC's form", code)
    texts = [f for f in files if f.suffix == ".txt" and _pair(f) in pictures]
    if len(texts) > len(pictures) / 2 and all(_YOLO.fullmatch(line.strip()) for f in texts[:50] for line in _head(f).splitlines()[:-1]):
        code = (
            f"import pathlib; r = pathlib.Path({str(path)!r}); k = lambda f: str(f.with_suffix('')).replace('/labels/', '/images/'); "
            f"p = {{k(f): f for {_EACH}}}; "
            "found = [(p[k(t)], {l.split()[0] for l in open(t) if l.strip()}) for t in sorted(r.rglob('*.txt')) if k(t) in p]; "
        )
        return _told(path, "boxes in YOLO's form", code)
    return None


def with_masks(path: Path) -> DataError | None:
    """A folder of pictures beside one of their masks, file by file. See `with_boxes`."""
    if not path.is_dir():
        return None
    parts = [p for p in path.iterdir() if p.is_dir() and not p.name.startswith(".")]
    masks = next((p for p in parts if p.name.lower() in _MASKS), None)
    if masks is None or len(parts) != 2:
        return None
    pictures = next(p for p in parts if p != masks)
    names = [
        {re.sub(r"[_-]?(mask|seg|label)s?$", "", f.stem.lower()) for f in _files(p) if f.suffix.lower() in _PICTURES}
        for p in (masks, pictures)
    ]
    if not names[0] or len(names[0] & names[1]) < 0.9 * len(names[0]):
        return None
    return DataError(
        f"holds pictures ({pictures.name}) and their masks ({masks.name}), which no task learns",
        field="--data",
        value=str(path),
        fix="to learn a label a picture, put the pictures into a sub-folder a label; masks take a task of your own (docs/training.md)",
    )


def _coco(file: Path, root: Path) -> DataError | None:
    head = _head(file)
    if not head.lstrip().startswith("{"):
        return None
    if not all(f'"{key}"' in head + _tail(file) for key in ("images", "annotations", "categories")):
        return None
    code = (
        f"import json, pathlib; d = json.load(open({str(file)!r})); r = pathlib.Path({str(root)!r}); p = {{f.name: f for {_EACH}}}; "
        "n = {c['id']: c['name'] for c in d['categories']}; i = {x['id']: x['file_name'].split('/')[-1] for x in d['images']}; "
        "c = {}; [c.setdefault(a['image_id'], set()).add(n[a['category_id']]) for a in d['annotations']]; "
        "found = [(p[f], c.get(k, ())) for k, f in i.items() if f in p]; "
    )
    return _told(file, "boxes in COCO's form", code)


def _told(path: Path, form: str, code: str) -> DataError:
    return DataError(
        f"holds {form}, which no task learns; which classes a picture holds can be learnt",
        field="--data",
        value=str(path),
        fix=f'write them so: python3 -c "{code}{_WRITE}"\nthen: --data classes.csv --task image',
    )


def _pair(file: Path) -> str:
    """What a picture's path and that of its boxes have in common."""
    return "/".join(p for p in file.with_suffix("").parts if p not in ("images", "labels"))


def _files(folder: Path) -> list[Path]:
    every = (Path(where, name) for where, _, names in os.walk(folder) for name in sorted(names) if not name.startswith("."))
    return list(itertools.islice(every, _FILES))


def _head(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", errors="replace") as f:
            return f.read(_BYTES)
    except OSError:
        return ""


def _tail(file: Path) -> str:
    try:
        with file.open("rb") as f:
            f.seek(max(0, file.stat().st_size - _BYTES))
            return f.read(_BYTES).decode(errors="replace")
    except OSError:
        return ""
