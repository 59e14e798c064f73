"""Volumes and tables in and out of files: read, check, write, whole or not at all."""
