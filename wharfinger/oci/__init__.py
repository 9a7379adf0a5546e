"""What the OCI specifications define: names, digests, media types, manifests.

Pure, and standard library only: the host program contains this package. Modules of
`wharfinger.host` import it relatively (`from ...oci`), because Ansible ships both under other
names.
"""
