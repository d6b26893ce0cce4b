"""Reading and writing the files of certificates and keys."""
