"""slimgate compresses object detectors and gates what is shipped."""

__version__ = "0.1.0"
