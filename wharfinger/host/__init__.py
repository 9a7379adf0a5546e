"""The program that lives on the host: one implementation for roles, playbooks, timers and people.

Python 3.11 standard library only, relative imports only: this folder runs as a package of the
project, inside an Ansible module, and as the zipapp /usr/local/lib/wharfinger/wharfinger-host.pyz.
"""
