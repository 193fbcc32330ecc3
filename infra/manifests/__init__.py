"""The manifests of ``k8s/``: what is generated in them, and what is checked once they are built."""
