"""Backup: what a home, or an environment on a cluster, knows, in one file that is proven whole before anything is put back."""
