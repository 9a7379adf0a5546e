"""The program on the host: one implementation for roles, playbooks, timers and people.

It uses only Python's standard library (3.11) and relative imports: this folder runs as a package of
the project, inside an Ansible module, and as the zipapp
/usr/local/lib/wharfinger/wharfinger-host.pyz.
"""
