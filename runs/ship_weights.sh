#!/usr/bin/env bash
# From folders of real videos to the weights that ship: one command, one seed.
#
#   runs/ship_weights.sh DATA OUT [SEED]
#
# DATA: see runs/training_videos.py, and its own README for terms. OUT gets everything: stores, the
# run, the packed model and what it was measured to do. Stopped at any moment, the same command goes
# on where it was; an OUT belongs to one version of this script. No fake video is trained on; the
# swaps of DATA/swaps-dev serve to choose thresholds and to measure.
#
#   frames  g and b on single frames, behind an EfficientNet-Lite0 that has seen ImageNet and moves
#   clips   that network further, with h, on clips of four frames
#   fit     f in closed form, on what ImageNet's layers see of the face, of what is around it, and
#           of the fine detail of both
#
# WORKERS: processes that read. PAIRS: how many f is fitted to.
set -euo pipefail

DATA=${1:?usage: runs/ship_weights.sh DATA OUT [SEED]}
OUT=${2:?usage: runs/ship_weights.sh DATA OUT [SEED]}
SEED=${3:-0}
WORKERS=${WORKERS:-1}
PAIRS=${PAIRS:-28800}
PYTHON=${PYTHON:-python}
HERE=$(dirname "$0")

# Faces stay at about their own size, 128 px, and are damaged there, as videos are compressed. Nothing
# is recoloured, sharpened or coarsened: what is left is what blending does by itself.
beyond=synthesis.beyond
recipe=(--recipe tiny)
for assignment in "training.seed=$SEED" \
    crop.enlarge=1.5 crop.stored_size=192 prediction.margin=30 \
    model.image_size=192 model.stem=efficientnet-lite0 model.frozen_stages=2 \
    model.width=192 model.heads=3 model.drop_path=0.1 \
    synthesis.downscale_probability=0 'synthesis.sharpen_alpha=[0,0]' \
    synthesis.change.rgb_probability=0 synthesis.change.hsv_probability=0 \
    synthesis.change.contrast_probability=0 'synthesis.margin=[20,44]' \
    synthesis.cutout_probability=0.2 'synthesis.jpeg_quality=[40,96]' \
    synthesis.jpeg_probability=0.4 \
    $beyond.shift=8 $beyond.moved_real_probability=0.3 $beyond.damage_first=true \
    $beyond.resolution_probability=1 "$beyond.resolution=[0.55,1.0]" \
    $beyond.h264_probability=0.35 "$beyond.h264_crf=[18,34]" \
    $beyond.donor_probability=0.15 $beyond.donor_changed_probability=0 \
    "$beyond.resamplings=[\"linear\",\"linear\",\"cubic\"]" \
    training.pretrained_rate=0.5 training.freeze_epochs=0 training.weight_decay=0.05 \
    training.ema_decay=0.99 training.loss.lambda_b=2 training.checkpoint_minutes=4; do
    recipe+=(--set "$assignment")
done
frames=(--set model.frames=1 --set 'model.branches=["g","b"]' --set training.epochs=5
    --set training.clips_per_track=6 --set training.learning_rate=6e-4)
clips=(--set 'model.branches=["h","g","b"]' --set training.epochs=3
    --set training.clips_per_track=2 --set training.learning_rate=4e-4
    --set training.ema_decay=0.98)

MODEL=$OUT/fakestormer-compact.safetensors
mkdir -p "$OUT"

# Exit code 3: some inputs could not be used; they are listed, and the others are done.
some_may_fail() { "$@" || { code=$?; [ "$code" -eq 3 ] || exit "$code"; }; }
step() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }

step "faces of the real videos"
"$PYTHON" "$HERE/training_videos.py" train "$DATA" "$OUT/train"
some_may_fail fakestormer prepare "$OUT/train" --table "$OUT/train/videos.csv" --out "$OUT/store" \
    "${recipe[@]}" --max-frames 0 --workers "$WORKERS"

# Train once, or go on: training RUN SETTING...
training() {
    local run=$1 resume=()
    shift
    [ ! -f "$run/model.json" ] || return 0 # written last
    if [ -d "$run/checkpoints" ]; then resume=(--resume); fi
    fakestormer train "$OUT/store" --out "$run" "${recipe[@]}" "$@" "${resume[@]}" \
        --workers "$WORKERS"
}

step "training on single frames"
training "$OUT/frames" "${frames[@]}"

step "training on clips"
training "$OUT/clips" --weights "$OUT/frames/model.safetensors" "${clips[@]}"

step "fitting f"
if [ ! -f "$OUT/fitted/model.json" ]; then
    # Pairs compressed harder than in training, as old videos of the web are, and some of them out
    # of focus or noisy, as a whole: neither is a sign of blending.
    fakestormer fit "$OUT/clips" -o "$OUT/fitted" --data "$OUT/store" --pairs "$PAIRS" \
        --seed "$SEED" --set synthesis.jpeg_probability=0.5 --set 'synthesis.jpeg_quality=[25,95]' \
        --set $beyond.h264_probability=0.5 --set "$beyond.h264_crf=[18,38]" \
        --set $beyond.blur_probability=0.13 --set $beyond.noise_probability=0.08
fi

step "packing"
if [ ! -f "$OUT/fitted/packed" ]; then # a calibration is of the packed weights
    "$PYTHON" "$HERE/pack.py" "$OUT/fitted" -o "$MODEL" --data "${DATA_NOTE:-$HERE/training-data.txt}"
    touch "$OUT/fitted/packed"
fi
# What `detect` runs on a CPU.
EXPORT=${MODEL%.safetensors}.onnx
[ -f "$EXPORT.json" ] || fakestormer export "$MODEL" --onnx "$EXPORT"

step "videos to measure with"
fakestormer pseudo-fakes "$OUT/store" --out "$OUT/pairs" --split validation --seed "$SEED" \
    "${recipe[@]}"
"$PYTHON" "$HERE/training_videos.py" measure "$DATA" "$OUT/measure" "$OUT/pairs"
some_may_fail fakestormer prepare "$OUT/measure" --table "$OUT/measure/videos.csv" \
    --out "$OUT/test" "${recipe[@]}" --max-frames 0 --workers "$WORKERS"

step "calibrating, and choosing the thresholds"
if [ ! -f "$OUT/fitted/calibrated" ]; then
    some_may_fail fakestormer evaluate --model "$MODEL" --data "unseen=$OUT/test" \
        --out "$OUT/before-calibration" --workers "$WORKERS"
    fakestormer calibrate "$MODEL" --scores "$OUT/before-calibration"
    touch "$OUT/fitted/calibrated"
fi

step "measuring"
some_may_fail fakestormer evaluate --model "$MODEL" --data "unseen=$OUT/test" \
    --out "$OUT/evaluation" --workers "$WORKERS"
fakestormer shortcuts --model "$MODEL" --data "$OUT/store" --split validation --at-most 24 \
    --out "$OUT/shortcuts" --workers "$WORKERS"

step "done"
cat <<END
$MODEL and its .json are the model. To ship them:
  cp $OUT/fakestormer-compact.* src/fakestormer/weights/
Numbers for docs/model-card.md: $OUT/evaluation/evaluation.md, $OUT/shortcuts/shortcuts.md,
$OUT/fakestormer-compact-reliability.png.
END
