"""`sluice ui`: one process that shows a home, or a namespace of a cluster, in a browser, and lets whoever holds its token act."""
