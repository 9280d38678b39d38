"""The generator behind write_extracts.py; start reading there."""
