"""Readers: from the bytes of a sealed file to raw records and their exact positions."""
