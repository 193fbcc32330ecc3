"""From a working copy to a cluster: ``make deploy`` and ``make undeploy``, over kubectl."""
