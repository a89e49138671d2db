"""One file per mode; each is imported when it is first opened."""
