"""The orders of the command line, a file for each noun.

Each file has ``add_to``, which describes its commands to the parser and names the function that
carries out each one. What an order does is in the modules of the service; here it is asked for and
its answer shown.
"""
