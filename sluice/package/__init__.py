"""The package: a directory that can be served with no Python of the user's."""
