"""Make a checkpoint ready to be shared: weights and class names alone, the hash in its name.

``publish_model.py work_dirs/mine/latest.pth mine.pth`` writes ``mine-1a2b3c4d.pth``, named by the first eight digits of
its SHA-256. The optimizer, random states, messages between hooks and the second set of weights that an averaging hook
keeps are left out, and so is what the training machine tells about itself.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PRIVATE = ('env_info', 'hook_msgs', 'yolox_training_state')  # of meta: of use to the training alone, with its paths


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('in_file', help='the checkpoint')
    parser.add_argument('out_file', type=Path, help='where to write; -<hash>.pth is added to the name')
    parser.add_argument(
        '--trust-checkpoint', action='store_true', help='run the Python code that an unusual checkpoint asks for'
    )
    return parser.parse_args(argv)


def published(checkpoint: dict) -> dict:
    """What is shared of a checkpoint: ``meta`` without the machine's traces, and the weights to test with."""
    from mmdet_clone.engine.checkpoint import weights_of

    meta = checkpoint.get('meta')
    meta = {key: value for key, value in meta.items() if key not in PRIVATE} if isinstance(meta, dict) else {}
    weights = weights_of(checkpoint)
    kept = OrderedDict((key, value) for key, value in weights.items() if not _is_extra(key, weights))
    if meta.pop(
        'inner_iter', 0
    ):  # saved within an epoch, where the trained weights are in place and these the averages
        kept.update({key: weights[_average_of(key)] for key in kept if _average_of(key) in weights})
    if hasattr(weights, '_metadata'):
        kept._metadata = weights._metadata
    return {'meta': meta, 'state_dict': kept}


def _average_of(key: str) -> str:
    """The buffer that MMDetection 2.x's averaging hooks keep for a weight."""
    return f'ema_{key.replace(".", "_")}'


def _is_extra(key: str, weights: dict[str, Any]) -> bool:
    return key.startswith('data_preprocessor.') or (key.startswith('ema_') and '.' not in key)


def write_with_hash(checkpoint: dict, out_file: Path) -> Path:
    """Write the file; returns its name with the hash."""
    from mmdet_clone.engine.checkpoint import write_checkpoint

    stem = out_file.name.removesuffix('.pth')
    temporary = out_file.with_name(f'.{stem}.publishing')
    write_checkpoint(checkpoint, temporary)
    digest = hashlib.sha256()
    with temporary.open('rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    final = out_file.with_name(f'{stem}-{digest.hexdigest()[:8]}.pth')
    os.replace(temporary, final)
    return final


def main(argv: Sequence[str] | None = None) -> Path:
    args = parse_args(argv)
    from mmdet_clone.engine.checkpoint import read_checkpoint

    checkpoint = read_checkpoint(args.in_file, trust=args.trust_checkpoint)
    final = write_with_hash(published(checkpoint), args.out_file)
    left_out = sorted(set(checkpoint) - {'meta', 'state_dict'})
    print(f'{final}: {final.stat().st_size / 1e6:.1f} MB' + f', without {", ".join(left_out)}' * bool(left_out))
    return final


if __name__ == '__main__':
    main()
