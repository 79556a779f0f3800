"""Decides how Nearfeed runs in a cluster."""
