"""Convert a checkpoint of MMDetection 1.x, or of 2.0 to 2.4 with a softmax RPN, to the layout of MMDetection 2.28.

What changed: since 2.0 the background is the last class and not the first, box and mask layers have no outputs for it,
and the heads of two-stage detectors lie below ``roi_head``; since 2.5 the background is last in an RPN too; before 0.6
RetinaNet's convolutions had shorter names. The layers tell by their sizes which of this concerns them; the config text
in the file, which is Python, is not read.
"""

from __future__ import annotations

import argparse
import re
from collections import OrderedDict
from collections.abc import Sequence

import torch

SSD_MARK = 'backbone.l2_norm.weight'
HEADS = ('bbox_head', 'mask_head', 'semantic_head', 'grid_head', 'mask_iou_head', 'shared_head')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('in_file', help='the checkpoint to convert')
    parser.add_argument('out_file', help='where to write the converted one')
    parser.add_argument(
        '--num-classes', type=int, help='classes of the model, background included (81 for COCO); else the file tells'
    )
    parser.add_argument('--from-version', help="MMDetection's version that wrote the file; else the file tells")
    parser.add_argument(
        '--trust-checkpoint', action='store_true', help='run the Python code that an unusual checkpoint asks for'
    )
    return parser.parse_args(argv)


def convert(weights: dict[str, torch.Tensor], version: tuple[int, int], num_classes: int | None) -> OrderedDict:
    """The weights in the layout of 2.28, each change printed.

    Args:
        version: of MMDetection that wrote them.
        num_classes: with the background; None if that is not known.
    """
    is_two_stage = any(re.match(r'bbox_head\.(\d+\.)?fc_(cls|reg)\.', key) for key in weights)
    is_retina = any('retina_cls' in key for key in weights)
    converted = OrderedDict()
    for key, value in weights.items():
        name, changed = key, value
        if version < (2, 0):
            if is_two_stage and key.split('.')[0] in HEADS:
                name = f'roi_head.{key}'
            if is_retina:
                name = re.sub(r'(cls_convs|reg_convs)\.(\d+)\.(weight|bias)$', r'\1.\2.conv.\3', name)
            changed = without_background(key, background_last(key, value, weights, num_classes), num_classes)
        if re.search(r'rpn_cls\.(weight|bias)$', key) and len(value) == 2 * _num_priors(key, weights):
            changed = move_first_class_last(value, 2)
        if name != key or changed is not value:
            shapes = f'{tuple(value.shape)} -> {tuple(changed.shape)}' if changed is not value else ''
            print(f'{key}' + f' -> {name}' * (name != key) + f': {shapes}' * bool(shapes))
        converted[name] = changed
    if hasattr(weights, '_metadata'):
        converted._metadata = weights._metadata
    return converted


def count_classes(weights: dict[str, torch.Tensor]) -> int | None:
    """The outputs of the box head's classifier, or an SSD's for each prior; None where there is neither."""
    for key, value in weights.items():
        if re.search(r'bbox_head\.(\d+\.)?fc_cls\.weight$', key):
            return len(value)
    first = 'bbox_head.cls_convs.0.weight'
    return len(weights[first]) // _num_priors(first, weights) if SSD_MARK in weights and first in weights else None


def background_last(
    key: str, value: torch.Tensor, weights: dict[str, torch.Tensor], num_classes: int | None
) -> torch.Tensor:
    """A classifier's rows with the background's last. One of sigmoids has none for it and stays as it is."""
    if re.search(r'(^|\.)fc_cls\.(weight|bias)$', key):
        if len(value) != num_classes:
            raise ValueError(f'{key} has {len(value)} outputs: --num-classes must be {len(value)}, not {num_classes}')
        return move_first_class_last(value, num_classes)
    of_ssd = r'|bbox_head\.cls_convs\.\d+' if SSD_MARK in weights else ''
    if re.search(rf'(conv_cls|retina_cls|fcos_cls|fovea_cls{of_ssd})\.(weight|bias)$', key):
        priors = _num_priors(key, weights)
        if num_classes is None:
            raise ValueError(f'the file does not tell how many classes {key} has: give --num-classes')
        if len(value) == priors * num_classes:
            return move_first_class_last(value, num_classes)
    return value


def without_background(key: str, value: torch.Tensor, num_classes: int | None) -> torch.Tensor:
    """A box or mask layer's rows without the background's. A layer that is the same for all classes stays as it is."""
    if re.search(r'(^|\.)fc_reg\.(weight|bias)$', key) and len(value) == 4 * (num_classes or 0):
        return value[4:].clone()
    is_mask = re.search(r'^mask_head\.(.*\.)?conv_logits\.(weight|bias)$|fc_mask_iou\.(weight|bias)$', key)
    return value[1:].clone() if is_mask and len(value) == num_classes else value


def move_first_class_last(value: torch.Tensor, num_classes: int) -> torch.Tensor:
    """(A * C, ...) rows, C classes for each of A priors: the first class of each becomes its last."""
    return value.unflatten(0, (-1, num_classes)).roll(-1, dims=1).flatten(0, 1).contiguous()


def _num_priors(key: str, weights: dict[str, torch.Tensor]) -> int:
    """Priors a cell, from the layer of boxes beside a layer of classes; 1 where there is none."""
    beside = key.replace('_cls.', '_reg.').replace('cls_convs.', 'reg_convs.')
    rows = weights.get(beside)
    return len(rows) // 4 if rows is not None and beside != key and len(rows) % 4 == 0 else 1


def find_version(checkpoint: dict, given: str | None) -> tuple[int, int]:
    meta = checkpoint.get('meta')
    text = given or (meta.get('mmdet_version') if isinstance(meta, dict) else None)
    found = re.match(r'(\d+)\.(\d+)', str(text))
    if not found:
        raise ValueError("the file does not tell which MMDetection wrote it: give --from-version, such as '1.2'")
    return int(found[1]), int(found[2])


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    from mmdet_clone.engine.checkpoint import read_checkpoint, weights_of, write_checkpoint

    checkpoint = read_checkpoint(args.in_file, trust=args.trust_checkpoint)
    version = find_version(checkpoint, args.from_version)
    if version >= (2, 5):
        raise ValueError(f'{args.in_file} is of MMDetection {version[0]}.{version[1]}: since 2.5 nothing has changed')
    weights, meta = weights_of(checkpoint), checkpoint.get('meta') or {}
    names = meta.get('CLASSES')
    num_classes = args.num_classes or count_classes(weights) or (len(names) + 1 if names else None)
    weights = convert(weights, version, num_classes)
    meta = {**meta, 'upgraded_from': f'{version[0]}.{version[1]}'}
    write_checkpoint({'meta': meta, 'state_dict': weights}, args.out_file)
    print(f'{args.out_file}: {len(weights)} entries; the optimizer, which knows the old layout, is left out')


if __name__ == '__main__':
    main()
