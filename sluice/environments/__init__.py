"""Environments in which a policy acts: gymnasium's, as rows of numbers and named actions. gymnasium is imported when one is made."""
