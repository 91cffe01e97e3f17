#!/usr/bin/env python
"""How long `import mmdet_clone.apis` takes beyond the libraries below it.

Starts fresh interpreters, the two imports in turn, and prints the medians and their difference.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

LIBRARIES = 'import torch, torchvision, mmengine.runner, mmcv'
# the names, not only the package: they are imported on first use
PACKAGE = f'{LIBRARIES}; from mmdet_clone.apis import init_detector, inference_detector, train_detector'


def seconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, '-c', code], check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeat', type=int, default=7, help='runs of each (default %(default)s)')
    repeat = parser.parse_args().repeat
    for code in (LIBRARIES, PACKAGE):  # warm the file cache
        seconds(code)
    runs = [(seconds(LIBRARIES), seconds(PACKAGE)) for _ in range(repeat)]
    libraries, package = (statistics.median(column) for column in zip(*runs))
    beyond = sorted(b - a for a, b in runs)
    print(f'{LIBRARIES}: {libraries:.2f} s')
    print(f'and mmdet_clone.apis: {package:.2f} s')
    print(f'beyond the libraries: {statistics.median(beyond):.2f} s (from {beyond[0]:.2f} to {beyond[-1]:.2f} s)')


if __name__ == '__main__':
    main()
