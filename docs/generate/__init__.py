"""What the documentation site is made of beside docs/*.md: pages that are read off the code, and the navigation.

``python -m docs.generate FOLDER`` writes the pages there; `make docs` builds them into the site (`hooks`).
"""
