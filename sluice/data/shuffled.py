"""Rows that could be but are not: each column drawn from its own values, whatever the others hold.

To tell rows from such a reference is to know what their columns have to do with each other: the density of data by a supervised problem (Hastie,
Tibshirani, Friedman, The Elements of Statistical Learning, 2nd ed., 14.2.4, with the product of the marginals as reference).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sluice.data.digests import row_ids


def shuffled(table: pa.Table, rows: int, seed: int) -> pa.Table:
    """At most `rows` rows whose columns were shuffled one by one; none of them occurs in `table`. Equal arguments give equal rows.

    Args:
        table: whose columns are drawn from; every kind of value, missing ones too.
        rows: no more than the table has.
        seed: the only source of chance.
    """
    chance = np.random.default_rng(seed)
    made = pa.table({name: table.column(name).take(pa.array(chance.permutation(table.num_rows)[:rows])) for name in table.column_names})
    names = table.column_names
    new = pc.invert(pc.is_in(row_ids(made, names), value_set=row_ids(table, names).combine_chunks()))
    return made.filter(new)
