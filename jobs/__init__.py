"""Jobs: settings, wiring, `main`. One job a file."""
