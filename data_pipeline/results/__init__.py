"""WHAT did an asset return? Its properties, how it is built and checked."""
