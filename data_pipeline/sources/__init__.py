"""WHERE do rows come from? Tables of databases and files as raw assets, with nothing declared."""
