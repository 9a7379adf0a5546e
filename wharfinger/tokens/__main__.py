import sys

from wharfinger.token_server.cli import main

sys.exit(main())
