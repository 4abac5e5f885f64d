"""ktrace: find out whether kernel TLS was really set up, and why not."""

__version__ = "0.1.0"
