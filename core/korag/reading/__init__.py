"""Reading files as texts: a file per format, each a `korag.reading.base.Reader`; `registry` lists them."""
