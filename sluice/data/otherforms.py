"""Files of rows in forms that are not read: what each is, by its first bytes or its name, and the command that writes it as Parquet."""

from __future__ import annotations

import itertools
import re
import zipfile
from pathlib import Path

from sluice.core.errors import DataError

#: What files begin with, and what their names end with -> (what it is, how pandas reads it).
_BYTES: dict[bytes, tuple[str, str]] = {
    b"ARROW1": ("an Arrow or Feather file", "pd.read_feather({0!r})"),
    b"FEA1": ("a Feather file", "pd.read_feather({0!r})"),
    b"ORC": ("an ORC file", "pd.read_orc({0!r})"),
    b"\x89HDF\r\n": ("an HDF5 file", "pd.read_hdf({0!r})"),
    b"\x93NUMPY": ("an array of NumPy", "pd.DataFrame(np.load({0!r})).add_prefix('x')"),
    b"$FL2": ("an SPSS file", "pd.read_spss({0!r})"),
    b"<stata_dta>": ("a Stata file", "pd.read_stata({0!r})"),
    b"Obj\x01": ("an Avro file", "pd.DataFrame(fastavro.reader(open({0!r}, 'rb')))"),
}
_NAMES: dict[str, tuple[str, str]] = {
    ".dta": ("a Stata file", "pd.read_stata({0!r})"),
    ".sas7bdat": ("a SAS file", "pd.read_sas({0!r}, encoding='utf-8')"),
    ".xpt": ("a SAS file", "pd.read_sas({0!r}, encoding='utf-8')"),
    ".html": ("a web page", "pd.read_html({0!r})[0]"),
    ".htm": ("a web page", "pd.read_html({0!r})[0]"),
    ".xml": ("an XML file", "pd.read_xml({0!r})"),
}
_PICKLES = (".pkl", ".pickle", ".joblib")
_SQLITE = b"SQLite format 3\x00"
_ARFF = re.compile(rb"\s*(%[^\n]*\n\s*)*@relation\b", re.IGNORECASE)
#: A line of LIBSVM: the label, then `index:value` by rising index.
_SVM = re.compile(r"[-+]?\d+(\.\d+)?( +\d+:[-+.\deE]+)+ *(#.*)?")
_LINES = 20


def other_form(path: Path, where: str) -> DataError | None:
    """What a file is whose form is not read; None where it is none of those known.

    Args:
        path: the file. where: what it is called in errors.
    """
    try:
        with path.open("rb") as f:
            head = f.read(1 << 12)
    except OSError:
        return None
    form = next((v for k, v in _BYTES.items() if head.startswith(k)), None) or _NAMES.get(path.suffix.lower())
    if form is not None:
        return _told(where, form[0], form[1].format(where))
    if head.startswith(_SQLITE):
        return _database(path, where)
    if path.suffix.lower() in _PICKLES:
        return _told(
            where, "a pickle, which runs what it holds when it is read: do so only where you wrote it", f"pd.read_pickle({where!r})"
        )
    if path.suffix.lower() == ".npz" and zipfile.is_zipfile(path):
        return _arrays(path, where)
    if _ARFF.match(head):
        rows = f"pd.DataFrame(arff.loadarff({where!r})[0]).map(lambda v: v.decode() if isinstance(v, bytes) else v)"
        return _told(where, "a file of Weka (ARFF)", rows, "from scipy.io import arff; ")
    lines = head.decode(errors="replace").split("\n")[:-1][:_LINES]
    if lines and all(map(_SVM.fullmatch, map(str.rstrip, lines))):
        rows = "pd.DataFrame(x.toarray()).add_prefix('x').assign(label=y)"
        return _told(
            where,
            "a file in LIBSVM's form",
            rows,
            f"from sklearn.datasets import load_svmlight_file; x, y = load_svmlight_file({where!r}); ",
        )
    return None


def _told(where: str, said: str, rows: str, before: str = "") -> DataError:
    needs = "".join(f"import {name}; " for name, sign in (("numpy as np", "np."), ("fastavro", "fastavro.")) if sign in rows)
    out = f"{Path(where).name.split('.')[0]}.parquet"
    code = f"import pandas as pd; {needs}{before}{rows}.to_parquet({out!r})"
    return DataError(f"is {said}", field=where, fix=f'write it so: python3 -c "{code}"\nthen: {out}')


def _database(path: Path, where: str) -> DataError:
    """Its tables, the first of which the command writes."""
    import sqlite3

    tables: list[str] = []
    try:
        with sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=1) as database:
            tables = [
                str(name) for (name,) in database.execute("select name from sqlite_master where type in ('table', 'view') order by rowid")
            ]
        database.close()
    except sqlite3.Error:
        tables = []
    said = "a database of SQLite" + (f" with the tables {', '.join(tables[:10])}" if tables else "")
    rows = f"pd.read_sql('select * from [{tables[0] if tables else 'TABLE'}]', sqlite3.connect({where!r}))"
    return _told(where, said, rows, "import sqlite3; ")


def _arrays(path: Path, where: str) -> DataError:
    with zipfile.ZipFile(path) as archive:
        names = [n.removesuffix(".npy") for n in itertools.islice(archive.namelist(), 10)]
    x, y = (names[0], names[1]) if len(names) > 1 else (names[0] if names else "X", "")
    rows = f"pd.DataFrame(d[{x!r}].reshape(len(d[{x!r}]), -1)).add_prefix('x')" + (f".assign(label=d[{y!r}])" if y else "")
    return _told(where, f"a file of NumPy with the arrays {', '.join(names)}", rows, f"import numpy as np; d = np.load({where!r}); ")
