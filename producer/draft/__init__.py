"""`producer draft`: a contract and the settings of a source, drafted from a file."""
