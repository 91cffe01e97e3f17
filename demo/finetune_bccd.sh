#!/usr/bin/env bash
# Fine-tunes a detector for blood cells from ImageNet weights on two CPU cores, trains the same from random weights,
# and shows both side by side: docs/finetune.md explains each step.
set -euo pipefail
usage="usage: $0 DATA WEIGHTS [WORK_DIR] [--no-random] [KEY=VALUE ...]
  DATA         the BCCD data set: a folder with Annotations, ImageSets and JPEGImages, or the folder above it
  WEIGHTS      ImageNet weights of MobileNetV2, under the names of this toolbox
  WORK_DIR     where logs, checkpoints and pictures go (default: work_dirs/finetune_bccd)
  --no-random  leave out the run from random weights
  KEY=VALUE    entries of the config for both runs, such as runner.max_epochs=30"

fail() {
    echo "$0: $1" >&2
    exit 2
}

paths=() options=() with_random=true
for argument in "$@"; do
    case $argument in
        -h | --help) echo "$usage"; exit ;;
        --no-random) with_random=false ;;
        -*) fail "unknown option $argument"$'\n'"$usage" ;;
        *=*) options+=("$argument") ;;
        *) paths+=("$argument") ;;
    esac
done
if [ ${#paths[@]} -lt 2 ] || [ ${#paths[@]} -gt 3 ]; then fail "$usage"; fi
data=${paths[0]} weights=${paths[1]}
[ -d "$data/BCCD/ImageSets/Main" ] && data=$data/BCCD
[ -d "$data/ImageSets/Main" ] || fail "there is no $data/ImageSets/Main: give the folder that holds it, with Annotations and JPEGImages, or the folder above"
data=$(cd "$data" && pwd)
case $weights in
    *://*) ;; # such as open-mmlab://mmdet/mobilenet_v2, which is downloaded
    *)
        [ -f "$weights" ] || fail "there is no file of weights $weights"
        weights=$(cd "$(dirname "$weights")" && pwd)/$(basename "$weights")
        ;;
esac
work_dir=work_dirs/finetune_bccd
if [ ${#paths[@]} -eq 3 ]; then
    mkdir -p "${paths[2]}"
    work_dir=$(cd "${paths[2]}" && pwd)
fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=tools/misc/environment.sh
. tools/misc/environment.sh
prepare_environment
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
processes=$(python -c 'import os, torch; print(1 if torch.cuda.is_available() else min(2, os.cpu_count() or 1))')
batch=$((8 / processes))
config=configs/bccd/retinanet_mbv2_fpn_bccd.py

newest() {
    ls -t "$@" | head -n 1
}

# figures NAME: the last evaluation of $work_dir/NAME in a line
figures() {
    python - "$(newest "$work_dir/$1"/eval_*.json)" <<'END'
import json, sys

metric = json.load(open(sys.argv[1]))['metric']
print(f'bbox_mAP={metric["bbox_mAP"]:.3f} bbox_mAP_50={metric["bbox_mAP_50"]:.3f}')
END
}

# train_and_test NAME CONFIG [KEY=VALUE ...]: into $work_dir/NAME
train_and_test() {
    local folder=$work_dir/$1 config=$2 start=$SECONDS
    shift 2
    ./tools/dist_train.sh "$config" "$processes" --work-dir "$folder" --seed 0 \
        --cfg-options data.samples_per_gpu=$batch "$@" ${options[@]+"${options[@]}"}
    echo "Trained in $((SECONDS - start)) s"
    python tools/test.py "$config" "$folder/latest.pth" --work-dir "$folder" --eval bbox --eval-options classwise=True \
        --show-dir "$folder/images" --show-score-thr 0.5 ${options[@]+--cfg-options "${options[@]}"}
}

echo "== 1/4 Converting the annotations to COCO json in data/bccd"
mkdir -p data/bccd
if [ ! data/bccd/BCCD -ef "$data" ]; then
    [ -L data/bccd/BCCD ] || [ ! -e data/bccd/BCCD ] || fail "data/bccd/BCCD is there, but is not $data: move it away"
    ln -sfn "$data" data/bccd/BCCD
fi
python tools/dataset_converters/pascal_voc.py data/bccd -o data/bccd --out-format coco --classes RBC WBC Platelets

echo "== 2/4 Fine-tuning $config in $processes process(es)"
train_and_test finetuned "$config" model.backbone.init_cfg.checkpoint="$weights"

logs=("$(newest "$work_dir"/finetuned/*.log.json)") legend=('from ImageNet weights')
if $with_random; then
    echo "== 3/4 The same from random weights"
    train_and_test random configs/bccd/retinanet_mbv2_fpn_bccd_random.py
    logs+=("$(newest "$work_dir"/random/*.log.json)") legend+=('from random weights')
else
    echo "== 3/4 The same from random weights: left out"
fi

echo "== 4/4 Plotting"
python tools/analysis_tools/analyze_logs.py plot_curve "${logs[@]}" --keys bbox_mAP_50 --legend "${legend[@]}" \
    --title 'Blood cells, validation images' --out "$work_dir/curves.png"

cat <<END

Done. What there is now:
  data/bccd             the annotations as COCO json, and a link to the images
  $work_dir  in finetuned (and random): the log, the checkpoints, the resolved config, the figures,
                        and images: what the model finds on the validation images with a score of 0.5 or more
  $work_dir/curves.png  mAP at IoU 0.5 over the epochs

What to try next:
  see the data       python tools/misc/browse_dataset.py $config --output-dir $work_dir/browse --not-show
  plot the losses    python tools/analysis_tools/analyze_logs.py plot_curve ${logs[0]} --keys loss_cls loss_bbox --out $work_dir/losses.png
  use the model      python demo/image_demo.py IMAGE $config $work_dir/finetuned/latest.pth --out-file $work_dir/demo.jpg
  your own cells     docs/finetune.md
END
echo "fine-tuned: $(figures finetuned)"
if $with_random; then echo "from random weights: $(figures random)"; fi
