"""Processes that begin with everything imported: forks of one that imported it ahead (`server`), asked for over a socket (`client`)."""
