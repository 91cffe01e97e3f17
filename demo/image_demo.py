"""Detect objects on an image: ``python demo/image_demo.py IMG CONFIG CHECKPOINT --out-file result.jpg``."""

from __future__ import annotations

import argparse


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Detect objects on an image.')
    parser.add_argument('img', help='image file')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--out-file', help='where to write the picture; it is shown in a window by default')
    parser.add_argument('--device', help='cuda:0 where there is CUDA, else cpu, by default')
    parser.add_argument(
        '--palette',
        choices=['coco', 'voc', 'citys', 'random'],
        help="colours of the classes; the model's own by default",
    )
    parser.add_argument('--score-thr', type=float, default=0.3, help='lowest score that is drawn (default 0.3)')
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
    from mmdet_clone.apis import inference_detector, init_detector, show_result
    from mmdet_clone.apis.inference import named_palette

    model = init_detector(args.config, args.checkpoint, args.device, trust=args.trust_checkpoint)
    result = inference_detector(model, args.img)
    show_result(
        args.img,
        result,
        model.CLASSES,
        args.score_thr,
        out_file=args.out_file,
        palette=named_palette(args.palette) or model.PALETTE,
        show=args.out_file is None,
        win_name=args.img,
    )
    per_class = result[0] if isinstance(result, tuple) else result
    for name, boxes in zip(model.CLASSES, per_class):
        for x1, y1, x2, y2, score in boxes[boxes[:, 4] >= args.score_thr]:
            print(f'{name} {score:.2f} at x {x1:.0f}-{x2:.0f}, y {y1:.0f}-{y2:.0f}')
    if args.out_file:
        print(f'picture: {args.out_file}')


if __name__ == '__main__':
    main()
