"""What the screens ask for: files and processes. Nothing here knows a widget."""
