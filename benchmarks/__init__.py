"""What this package costs, beside bare httpx and LangChain's own clients: `python -m benchmarks`."""
