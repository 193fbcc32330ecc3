"""The picture in containers on one machine: what has to be there before its first start."""
