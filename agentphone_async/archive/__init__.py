"""An archive: a folder that holds every recording of an account, and a catalog of them."""
