"""What all else stands on: errors, files, events, the home, processes, values and how they are written."""
