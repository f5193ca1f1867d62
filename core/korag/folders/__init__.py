"""Indexing folders of files, as ``korag index`` does: `korag.folders.indexing.index_folder`."""
