"""A step of a compiled pipeline, from the image's own code: ``python3 -m components FOLDER --executor_input ... --function_to_execute NAME``.

Kubeflow Pipelines would have each step bring its source along, in every place of a run's Workflow that names the step (`pipelines.slim`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main() -> None:
    """Run the function of ``components/FOLDER/component.py`` that the arguments name, as KFP's executor does."""
    folder = sys.argv.pop(1)
    os.environ["_KFP_RUNTIME"] = "true"  # what compiles pipelines is not imported
    from kfp import dsl

    def component(**_: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return lambda function: function

    dsl.component = component
    sys.argv += ["--component_module_path", str(Path(__file__).parent / folder / "component.py")]
    from kfp.dsl.executor_main import executor_main

    executor_main()


if __name__ == "__main__":
    main()
