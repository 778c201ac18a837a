from typing import Any

# The messages are made from the description when the module is imported.
def __getattr__(name: str) -> Any: ...
