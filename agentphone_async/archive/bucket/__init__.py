"""An archive in an object store; the catalog is a cache that is made from it."""
