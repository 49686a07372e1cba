"""How readings come in: bytes and a credential go in, a receipt comes out after the commit.

    edges (asgi.py, ../api/views.py) → http.py (with credentials.py) → formats/ (decode) → limits.py (pay)
    → resolve.py (with catalog.py) → writer.py (group commit) → receipt

One path for every way in. The edges know their transport, `formats` their wire form, and nothing else does.
"""
