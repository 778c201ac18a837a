"""A fitted scikit-learn estimator as plain JSON and arrays, and back.

Pickle runs whatever code a file names; here only classes of scikit-learn are made anew, and nothing but their attributes is set.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from sluice.core import files
from sluice.learners.estimators.thresholds import down

_JSON, _ARRAYS = "model.json", "model.safetensors"
_PACKAGE = "sklearn."
#: Attributes that are of no use after the fit, or made anew from the others.
_LEFT_OUT = frozenset({"_random_state", "_rng", "_loss", "_loss_function"})
_TREE = "sklearn.tree._tree:Tree"


def dump(model: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """An estimator as JSON values and the arrays these refer to by number.

    Raises:
        TypeError: an attribute that is neither plain, an array, nor of scikit-learn.
    """
    arrays: dict[str, np.ndarray] = {}
    return _dumped(model, arrays), arrays


def load(plain: Any, arrays: dict[str, np.ndarray]) -> Any:
    """What `dump` took apart. Raises `ValueError`, `KeyError`: it is something else."""
    return _loaded(plain, arrays)


def write(plain: Any, arrays: dict[str, np.ndarray], root: Path) -> None:
    """Write what `dump` gave into a directory; equal models give equal bytes."""
    from safetensors.numpy import save

    files.write_json(root / _JSON, plain)
    files.write_bytes(root / _ARRAYS, save(arrays))


def read(root: Path) -> tuple[Any, dict[str, np.ndarray]]:
    """What `write` wrote. Raises `OSError`, `ValueError`."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as tensors

    try:
        return files.read_json(root / _JSON), tensors((root / _ARRAYS).read_bytes())
    except SafetensorError as e:
        raise ValueError(f"{_ARRAYS}: {e}") from e


def _dumped(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, np.generic):
        return {"scalar": _dumped(np.asarray(value), arrays)}
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return {"float": repr(value)}
    if isinstance(value, np.ndarray):
        return _dumped_array(value, arrays)
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_dumped(v, arrays) for v in value]}
    if isinstance(value, dict):
        return {"dict": [[_dumped(k, arrays), _dumped(v, arrays)] for k, v in value.items()]}
    if isinstance(value, np.random.RandomState):  # what a tree drew from; it draws no more
        return None
    name = f"{type(value).__module__}:{type(value).__qualname__}"
    if not name.startswith(_PACKAGE):
        raise TypeError(f"cannot write down a {name}")
    if name == _TREE:
        return _dumped_tree(value, arrays)
    return {"object": name, "state": {k: _dumped(v, arrays) for k, v in sorted(vars(value).items()) if k not in _LEFT_OUT}}


def _dumped_array(value: np.ndarray, arrays: dict[str, np.ndarray]) -> Any:
    if value.dtype.kind in "OU":
        return {
            "objects": [_dumped(v, arrays) for v in value.ravel().tolist()],
            "shape": list(value.shape),
            "text": value.dtype.kind == "U",
        }
    if value.dtype.names:
        return {"fields": {n: _dumped_array(np.ascontiguousarray(value[n]), arrays) for n in value.dtype.names}}
    name = f"array_{len(arrays):06d}"
    # safetensors knows shapes and row order alone.
    arrays[name] = np.array(value, order="C")
    return {"array": name, "fortran": bool(value.flags.f_contiguous and not value.flags.c_contiguous)}


def _dumped_tree(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Thresholds are rounded down to 32 bits: rows are of 32 bits, and such a number is below the one if and only if it is below the other."""
    state = tree.__getstate__()
    nodes = state["nodes"].copy()
    nodes["threshold"] = down(nodes["threshold"])
    made = [int(tree.n_features), np.asarray(tree.n_classes, dtype=np.int64), int(tree.n_outputs)]
    return {"tree": [_dumped(v, arrays) for v in made], "state": _dumped({**state, "nodes": nodes}, arrays)}


def _loaded(plain: Any, arrays: dict[str, np.ndarray]) -> Any:
    if not isinstance(plain, dict):
        return plain
    if "float" in plain:
        return float(plain["float"])
    if "scalar" in plain:
        return _loaded(plain["scalar"], arrays)[()]
    if "list" in plain or "tuple" in plain:
        found = [_loaded(v, arrays) for v in plain["list" if "list" in plain else "tuple"]]
        return found if "list" in plain else tuple(found)
    if "dict" in plain:
        return {_loaded(k, arrays): _loaded(v, arrays) for k, v in plain["dict"]}
    if "array" in plain:
        return np.asfortranarray(arrays[plain["array"]]) if plain["fortran"] else arrays[plain["array"]]
    if "objects" in plain:
        return _loaded_objects(plain, arrays)
    if "tree" in plain:
        return _loaded_tree(plain, arrays)
    if "object" in plain:
        return _made(plain["object"], {k: _loaded(v, arrays) for k, v in plain["state"].items()})
    raise ValueError(f"unknown value: {sorted(plain)}")


def _loaded_objects(plain: Any, arrays: dict[str, np.ndarray]) -> np.ndarray:
    values = [_loaded(v, arrays) for v in plain["objects"]]
    if plain["text"]:
        return np.array(values, dtype=str).reshape(plain["shape"])
    out = np.empty(len(values), dtype=object)
    out[:] = values
    return out.reshape(plain["shape"])


def _loaded_tree(plain: Any, arrays: dict[str, np.ndarray]) -> Any:
    from sklearn.tree._tree import NODE_DTYPE, Tree

    tree = Tree(*(_loaded(v, arrays) for v in plain["tree"]))
    raw = plain["state"]["dict"]
    state = {}
    for key, value in ((_loaded(k, arrays), v) for k, v in raw):
        if key != "nodes":
            state[key] = _loaded(value, arrays)
            continue
        fields = {n: _loaded(v, arrays) for n, v in value["fields"].items()}
        nodes = np.zeros(len(fields["feature"]), dtype=NODE_DTYPE)
        for name in NODE_DTYPE.names:
            nodes[name] = fields[name]
        state[key] = nodes
    tree.__setstate__(state)
    return tree


def _made(name: str, state: dict[str, Any]) -> Any:
    """An object of a class of scikit-learn with these attributes."""
    module, _, attribute = name.partition(":")
    if not module.startswith(_PACKAGE):
        raise ValueError(f"{name} is not of scikit-learn")
    kind: Any = getattr(importlib.import_module(module), attribute)
    if not isinstance(kind, type):
        raise ValueError(f"{name} is no class")
    made: Any = object.__new__(kind)
    vars(made).update(state)
    if hasattr(made, "_get_loss"):  # gradient boosting's, which its settings say
        made._loss = made._get_loss(None)
    return made
