"""Where a package came from, of what it is made, who signed it: written beside it, and checked."""
