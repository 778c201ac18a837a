"""What a source has to be, declared in a file that people review and version: rules, judged batch by batch (docs/data.md)."""
