"""The images: built by docker where its engine runs, by buildah otherwise.

``make base-image`` makes what they are built on out of Debian's packages, for machines that reach
no image registry; ``make images`` builds them.
"""
