#!/usr/bin/env bash
# From a fresh clone to a trained, tested and used Mask R-CNN: draws a small data set, trains on it for a few minutes
# on two CPU cores, evaluates boxes and masks, and paints what the model finds on images it has not seen.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/misc/environment.sh
. tools/misc/environment.sh
prepare_environment
# two processes with one thread each: on so small a model a second thread gains little
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
processes=$(python -c 'import os, torch; print(1 if torch.cuda.is_available() else min(2, os.cpu_count() or 1))')

config=configs/quickstart/mask_rcnn_r18_fpn_shapes.py
data=data/shapes
work_dir=work_dirs/quickstart

echo "== 1/4 Drawing the data set into $data"
python tools/dataset_converters/make_shapes.py "$data"

echo "== 2/4 Training $config in $processes process(es)"
start=$SECONDS
./tools/dist_train.sh "$config" "$processes" --work-dir "$work_dir" --seed 0 \
    --cfg-options data.samples_per_gpu=$((4 / processes))
echo "Trained in $((SECONDS - start)) s"

echo "== 3/4 Evaluating boxes and masks on the validation images"
python tools/test.py "$config" "$work_dir/latest.pth" --work-dir "$work_dir" --eval bbox segm --out "$work_dir/results.pkl"

echo "== 4/4 Painting detections on validation images"
python demo/folder_demo.py "$data/val" "$config" "$work_dir/latest.pth" "$work_dir/images" --max-images 16 --enlarge 4

cat <<END

Done. What there is now:
  $data                  the data set (COCO json, png images)
  $work_dir         the log, the checkpoints, the resolved config, the detections (results.pkl)
  $work_dir/images  what the model finds on images it was not trained on

What to try next:
  see the data          python tools/misc/browse_dataset.py $config --output-dir $work_dir/browse --not-show
  plot the training     python tools/analysis_tools/analyze_logs.py plot_curve $work_dir/*.log.json --keys loss bbox_mAP --out $work_dir/curves.png
  use the model         python demo/image_demo.py $data/val/000000.png $config $work_dir/latest.pth --out-file $work_dir/demo.png
  your own data         docs/datasets.md
END
python - "$work_dir" <<'END'
import json, sys
from pathlib import Path

newest = max(Path(sys.argv[1]).glob('eval_*.json'), key=lambda path: path.stat().st_mtime)
metric = json.loads(newest.read_text())['metric']
print(f'quickstart: bbox_mAP={metric["bbox_mAP"]:.3f} segm_mAP={metric["segm_mAP"]:.3f}')
END
