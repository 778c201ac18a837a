"""`python -m docs.generate FOLDER`: the generated pages, for whoever wants to read them without the site."""

import sys
from pathlib import Path

from docs.generate.pages import pages

for page, text in pages().items():
    to = Path(sys.argv[1] if len(sys.argv) > 1 else "build/pages") / page
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(text)
    print(to)
