"""The audit log: what was decided about models, by whom and why, in a chain that shows every change made to it afterwards."""
