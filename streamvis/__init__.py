"""streamvis: real-time perception over many cameras, published over ZeroMQ.

This file stays empty of imports, so that `import streamvis.client` costs nothing else.
"""

__version__ = "0.1.0"
