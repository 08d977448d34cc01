"""Load tests and benchmarks. They speak HTTP only and import nothing of the product."""
