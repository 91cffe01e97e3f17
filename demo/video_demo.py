"""Detect objects on a video: ``python demo/video_demo.py VIDEO CONFIG CHECKPOINT --out result.mp4``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Detect objects on each frame of a video.')
    parser.add_argument('video', help='video file')
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='checkpoint file or URL')
    parser.add_argument('--device', help='cuda:0 where there is CUDA, else cpu, by default')
    parser.add_argument('--score-thr', type=float, default=0.3, help='lowest score that is drawn (default 0.3)')
    parser.add_argument('--out', metavar='FILE', help='where to write the annotated video, .mp4 or .avi')
    parser.add_argument('--show', action='store_true', help='show the frames in a window; q stops')
    parser.add_argument('--wait-time', type=float, default=1, help='milliseconds between shown frames (default 1)')
    parser.add_argument(
        '--trust-checkpoint', action='store_true', help='run the code that an unusual checkpoint asks for'
    )
    args = parser.parse_args()
    if not args.out and not args.show:
        parser.error('give --out FILE.mp4 to write the annotated video, or --show to see it')
    if not Path(args.video).is_file():
        parser.error(f'no such video: {args.video}')
    return args


def main() -> None:
    args = parse_args()
    from mmdet_clone.apis.errors import clear_errors

    with clear_errors():
        detect(args)


def detect(args: argparse.Namespace) -> None:
    import cv2
    from mmengine.utils import track_iter_progress

    from mmdet_clone.apis import inference_detector, init_detector
    from mmdet_clone.visualization import show_image

    capture = cv2.VideoCapture(args.video)
    if not capture.isOpened():
        raise SystemExit(f'cannot read {args.video}: not a video that this OpenCV can decode')
    count = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 1)
    model = init_detector(args.config, args.checkpoint, args.device, trust=args.trust_checkpoint)
    writer = None
    for frame in track_iter_progress((frames(capture), count)):
        drawn = model.show_result(frame, inference_detector(model, frame), score_thr=args.score_thr)
        if args.out:
            writer = writer or open_writer(args.out, capture.get(cv2.CAP_PROP_FPS), drawn.shape)
            writer.write(drawn)
        if args.show and not show_image(drawn, args.video, args.wait_time / 1000):
            break
    capture.release()
    if writer is None and args.out:
        raise SystemExit(f'{args.video} has no frame that can be read')
    if writer is not None:
        writer.release()
        print(f'\nvideo: {args.out}')


def frames(capture: Any) -> Iterator[Any]:
    """The frames (h, w, 3) BGR of an open video."""
    while True:
        read, frame = capture.read()
        if not read:
            return
        yield frame


def open_writer(path: str, fps: float, shape: tuple[int, ...]) -> Any:
    import cv2

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    code = 'MJPG' if path.lower().endswith('.avi') else 'mp4v'
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*code), fps or 25, (shape[1], shape[0]))
    if not writer.isOpened():
        raise SystemExit(f'cannot write {path}: end its name in .mp4 or .avi, in a folder that can be written')
    return writer


if __name__ == '__main__':
    main()
