"""Whether a host does what is asked of it: small probes, what came of them, and the remedy for what is wrong."""
