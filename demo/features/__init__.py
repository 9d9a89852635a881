"""Feature views as they are declared, for the demonstrations."""
