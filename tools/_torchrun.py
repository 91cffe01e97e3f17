"""torchrun without a traceback of its own: what the processes said last is what the user reads last."""

from __future__ import annotations

import logging
import signal
import sys

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

if __name__ == '__main__':
    logging.getLogger('torch.distributed.elastic.multiprocessing.api').setLevel(logging.CRITICAL)
    try:
        main()
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            name = signal.Signals(-failure.exitcode).name
            hint = ': was the memory used up?' if name == 'SIGKILL' else ''
            print(f'error: process {rank} was ended by the signal {name}{hint}', file=sys.stderr)
        sys.exit(max(failure.exitcode, 1))
