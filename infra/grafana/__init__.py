"""The boards for Grafana: what they show, and how Grafana reads them."""
