"""What happens to a running job when others send it what hurts: `scripts/faults`."""
