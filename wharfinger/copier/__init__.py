"""Copies images from upstream registries into the host's own: a process of its own, without rights.

The host program starts it (wharfinger/host/mirrors) with the host's python3 and its distribution's
httpx. It needs the standard library, httpx, and of this project `client` and `oci`.
"""
