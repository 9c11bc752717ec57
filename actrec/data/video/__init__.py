"""Video files: what they are, exactly the wanted frames, and writing them. The only importer of `av` (PyAV)."""
