#!/usr/bin/env bash
# From a folder of real videos to the weights that ship: one command, one seed.
#
#   runs/ship_weights.sh DATA OUT [SEED]
#
# DATA holds real/ (videos, named SOURCE_NUMBER.mp4); see its own README for sources and terms. OUT
# gets everything: stores, the runs, the packed model and what it was measured to do. Stopped at any
# moment, the same command goes on where it was; an OUT belongs to one version of this script.
#
# Held out, whole, and never trained on: the sources grid, liveportrait and styletalk, and a twentieth
# of the recordings of the others. Everything below is chosen and calibrated on those; no fake video
# plays a part in it.
#
# Six stages, each from the weights of the one before. The first five see single frames (T = 1): 32
# different pairs a step where clips of four would give 8, and a head b that learns where the boundary
# is. The second adds damage that both twins take alike, and a moving average of the weights; the
# third other people's faces, and copies as sharp as what surrounds them; in the fourth most of those
# faces are as they are, with nothing recoloured or sharpened; in the fifth two fifths of all copies
# are blended in the gradient domain. The sixth trains the whole method on clips.
#
# SETS changes all stages (space-separated FIELD=VALUE), FRAMES the first five, DAMAGE all but the
# first, DONORS the third, FACES the last three, GRADIENT the last two, FIRST to SIXTH one of them,
# ACCELERATOR and DEVICE where they run, WORKERS how many processes read.
# DATA_NOTE: a text about the data and their terms that goes into the model's JSON; say there what
# you trained on, if it is not what runs/training-data.txt says.
set -euo pipefail

DATA=${1:?usage: runs/ship_weights.sh DATA OUT [SEED]}
OUT=${2:?usage: runs/ship_weights.sh DATA OUT [SEED]}
SEED=${3:-0}
RECIPE=${RECIPE:-tiny}
SETS=${SETS-crop.stored_size=128 model.stem=deep model.width=128 model.heads=4 \
    training.precision=bf16-mixed training.loss.lambda_b=4}
FRAMES=${FRAMES-model.frames=1 model.branches=[\"g\",\"b\"] training.batch_size=64}
DAMAGE=${DAMAGE-synthesis.beyond.moved_real_probability=0.5 synthesis.beyond.shift=12 synthesis.margin=[4,40] \
    synthesis.jitter.rgb_probability=0.5 synthesis.jitter.contrast_probability=0.5 \
    synthesis.beyond.sharpen_probability=0.25 synthesis.beyond.resolution_probability=0.5 \
    synthesis.beyond.noise_probability=0.3 synthesis.jpeg_quality=[25,100] \
    synthesis.beyond.h264_probability=0.3 training.ema_decay=0.998 training.weight_decay=0.05 \
    model.drop_path=0.1}
FIRST=${FIRST-synthesis.beyond.moved_real_probability=0.5 synthesis.beyond.shift=8 synthesis.cutout_probability=0 \
    training.epochs=4}
SECOND=${SECOND-synthesis.cutout_probability=0.3 training.epochs=5}
DONORS=${DONORS-synthesis.beyond.donor_probability=0.4 \
    synthesis.beyond.resamplings=[\"linear\",\"cubic\",\"cubic\"]}
FACES=${FACES-synthesis.beyond.donor_probability=0.5 synthesis.beyond.donor_changed_probability=0.3 \
    synthesis.beyond.resamplings=[\"linear\",\"cubic\",\"cubic\"]}
THIRD=${THIRD-synthesis.cutout_probability=0.3 training.epochs=8}
FOURTH=${FOURTH-synthesis.cutout_probability=0.3 training.epochs=4}
GRADIENT=${GRADIENT-synthesis.beyond.gradient_domain_probability=0.4}
FIFTH=${FIFTH-synthesis.cutout_probability=0.3 training.epochs=5}
SIXTH=${SIXTH-model.branches=[\"h\",\"g\",\"b\"] training.epochs=8 training.learning_rate=5e-4}
ACCELERATOR=${ACCELERATOR:-auto}
DEVICE=${DEVICE:-cpu}
WORKERS=${WORKERS:-1}
PYTHON=${PYTHON:-python}
HOLD_OUT=${HOLD_OUT-grid liveportrait styletalk}
FRACTION=${FRACTION:-0.05}
DATA_NOTE=${DATA_NOTE:-$(dirname "$0")/training-data.txt}

read -r -a sets <<<"$SETS"
recipe=(--recipe "$RECIPE")
for assignment in "training.seed=$SEED" "${sets[@]}"; do recipe+=(--set "$assignment"); done
read -r -a sources <<<"$HOLD_OUT"
hold_out=()
for source in "${sources[@]}"; do hold_out+=(--hold-out "$source"); done

PACKED=$OUT/fakestormer-compact.safetensors
mkdir -p "$OUT"

# Exit code 3: some inputs could not be used; they are listed, and the others are done.
some_may_fail() { "$@" || { code=$?; [ "$code" -eq 3 ] || exit "$code"; }; }
step() { printf '\n== %s (%s s)\n' "$*" "$SECONDS"; }

step "faces of the real videos"
# real/ within a folder of its own: a video's name, by which the draw of the held-out ones goes, is
# its path below the folder.
mkdir -p "$OUT/videos"
ln -sfn "$(cd "$DATA" && pwd)/real" "$OUT/videos/real"
some_may_fail fakestormer prepare "$OUT/videos" --out "$OUT/store" "${recipe[@]}" \
    "${hold_out[@]}" --validation-fraction "$FRACTION" --max-frames 0 --workers "$WORKERS"

# train FOLDER "SETTINGS" [--weights MODEL]
train() {
    local run=$OUT/$1 stage=() resume=()
    for assignment in $2; do stage+=(--set "$assignment"); done
    shift 2
    if [ ! -f "$run/model.json" ]; then # written last
        if [ -d "$run/checkpoints" ]; then resume=(--resume); fi
        fakestormer train "$OUT/store" --out "$run" "${recipe[@]}" "${stage[@]}" "${resume[@]}" \
            "$@" --accelerator "$ACCELERATOR" --workers "$WORKERS"
    fi
}
step "training, first stage: single frames"
train frames "$FRAMES $FIRST"
step "training, second stage: damaged ones"
train damaged "$FRAMES $DAMAGE $SECOND" --weights "$OUT/frames"
step "training, third stage: other people's faces"
train donors "$FRAMES $DAMAGE $DONORS $THIRD" --weights "$OUT/damaged"
step "training, fourth stage: other people's faces as they are"
train faces "$FRAMES $DAMAGE $FACES $FOURTH" --weights "$OUT/donors"
step "training, fifth stage: blended in the gradient domain, too"
train gradient "$FRAMES $DAMAGE $FACES $GRADIENT $FIFTH" --weights "$OUT/faces"
step "training, sixth stage: clips"
train clips "$DAMAGE $FACES $GRADIENT $SIXTH" --weights "$OUT/gradient"

step "real clips and pseudo-fakes of what was held out, as videos"
fakestormer pseudo-fakes "$OUT/store" --out "$OUT/pairs" --split validation --seed "$SEED" \
    "${recipe[@]}"
some_may_fail fakestormer prepare "$OUT/pairs" --out "$OUT/test" "${recipe[@]}" \
    --table "$OUT/pairs/videos.csv" --split test --max-frames 0 --workers "$WORKERS"

step "packing"
# A calibration is fitted on scores of the packed weights: packing comes first, and only once.
if [ ! -f "$OUT/clips/packed" ]; then
    fakestormer pack "$OUT/clips" -o "$PACKED" --data "$DATA_NOTE"
    touch "$OUT/clips/packed"
fi

step "calibrating"
if [ ! -f "$OUT/clips/calibrated" ]; then
    some_may_fail fakestormer evaluate --model "$PACKED" --data "held-out=$OUT/test" \
        --out "$OUT/before-calibration" --workers "$WORKERS" --device "$DEVICE"
    fakestormer calibrate "$PACKED" --scores "$OUT/before-calibration"
    touch "$OUT/clips/calibrated"
fi

step "face swaps of what was held out, as videos"
"$PYTHON" "$(dirname "$0")/face_swaps.py" "$OUT/store" --out "$OUT/swaps"
some_may_fail fakestormer prepare "$OUT/swaps" --out "$OUT/swaps-test" "${recipe[@]}" \
    --table "$OUT/swaps/videos.csv" --split test --max-frames 0 --workers "$WORKERS"

step "measuring"
some_may_fail fakestormer evaluate --model "$PACKED" --data "swaps=$OUT/swaps-test" \
    --out "$OUT/swaps-evaluation" --corruptions video --corrupt crops \
    --workers "$WORKERS" --device "$DEVICE"
some_may_fail fakestormer evaluate --model "$PACKED" --data "held-out=$OUT/test" \
    --out "$OUT/evaluation" --corruptions all --corrupt crops \
    --workers "$WORKERS" --device "$DEVICE"
fakestormer shortcuts --model "$PACKED" --data "$OUT/store" --split validation \
    --out "$OUT/shortcuts" --workers "$WORKERS" --device "$DEVICE"

step "done"
cat <<END
$PACKED and its .json are the model. To ship them:
  mkdir -p src/fakestormer/weights; cp $OUT/fakestormer-compact.* src/fakestormer/weights/
Numbers for docs/model-card.md: $OUT/evaluation and $OUT/swaps-evaluation (evaluation.md), $OUT/shortcuts/shortcuts.md,
$OUT/fakestormer-compact-reliability.png, and the time above (seed $SEED).
END
