#!/usr/bin/env python
"""Detect objects in every image of a folder and write the annotated pictures.

python demo/folder_demo.py IMAGES_DIR CONFIG CHECKPOINT OUT_DIR [--max-images 16] [--score-thr 0.5]
"""

from __future__ import annotations

import argparse
from pathlib import Path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Annotate the images of a folder')
    parser.add_argument('images', type=Path, help='folder of jpg or png images')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('out_dir', type=Path, help='folder for the annotated pictures')
    parser.add_argument('--device', default=None, help='cuda:0, cpu ... (default: CUDA where there is one)')
    parser.add_argument('--max-images', type=int, default=None, help='stop after this many')
    parser.add_argument('--score-thr', type=float, default=0.5, help='draw detections scored above this')
    parser.add_argument(
        '--enlarge', type=float, default=1, help='enlarge small images by this, to make room for labels'
    )
    parser.add_argument(
        '--trust-checkpoint', action='store_true', help='run the code that an unusual checkpoint asks for'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from mmdet_clone.apis.errors import clear_errors

    with clear_errors():
        detect(args)


def detect(args: argparse.Namespace) -> None:
    suffixes = {'.jpg', '.jpeg', '.png', '.bmp'}
    if not args.images.is_dir():
        raise SystemExit(f'error: there is no folder {args.images}')
    images = sorted(p for p in args.images.iterdir() if p.suffix.lower() in suffixes)[: args.max_images]
    if not images:
        raise SystemExit(f'error: {args.images} holds no file that ends in {", ".join(sorted(suffixes))}')

    import mmcv
    from rich.progress import track

    from mmdet_clone.apis import inference_detector, init_detector

    model = init_detector(args.config, args.checkpoint, args.device, trust=args.trust_checkpoint)
    args.out_dir.mkdir(parents=True, exist_ok=True)
    for path in track(images, description='detecting'):
        image = mmcv.imrescale(mmcv.imread(str(path)), args.enlarge)
        result = inference_detector(model, image)
        model.show_result(image, result, score_thr=args.score_thr, out_file=str(args.out_dir / path.name))
    print(f'{len(images)} annotated pictures in {args.out_dir}')


if __name__ == '__main__':
    main()
