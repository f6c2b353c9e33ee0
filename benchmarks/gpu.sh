#!/usr/bin/env bash
# What a GPU does with all of this, in under eight minutes, in one result file.
#
#   benchmarks/gpu.sh STORE [RESULT.md]                     # on the first CUDA device
#   DEVICE=cpu SIZE=tiny benchmarks/gpu.sh STORE [RESULT.md]  # the same steps, tried without one
#
# STORE: any track store with training tracks (`fakestormer prepare`); 64 tracks are enough. Checks
# the tests marked gpu, then measures synthesis on the device, the forward and the SAM step of the
# sizes small and base in bfloat16 with torch.compile, and waiting for data. A step that fails or
# takes longer than its share is said in the file, and the others go on; the exit code is then 1.
# SIZE=tiny leaves torch.compile out, which takes minutes on a CPU; the file says so.
set -uo pipefail

STORE=${1:?usage: benchmarks/gpu.sh STORE [RESULT.md]}
DEVICE=${DEVICE:-cuda}
SIZE=${SIZE:-full}
RESULT=${2:-benchmarks/$DEVICE-$(date +%F).md}
PYTHON=${PYTHON:-python}
HERE=$(dirname "$0")
failed=0

step() { # step "title" SECONDS command...
    local title=$1 limit=$2 began=$SECONDS code=0
    shift 2
    printf '\n## %s\n\n' "$title" >>"$RESULT"
    limit=$((limit * patience)) # of a CPU that does a GPU's work
    timeout "$limit" "$@" >>"$RESULT" 2>"$RESULT.errors" || code=$?
    if [ "$code" -ne 0 ]; then
        failed=1
        printf '\nFAILED (exit code %s; 124 is the limit of %s s):\n\n```\n' "$code" "$limit" >>"$RESULT"
        tail -n 15 "$RESULT.errors" >>"$RESULT"
        printf '```\n' >>"$RESULT"
    fi
    printf '\n%s s.\n' "$((SECONDS - began))" >>"$RESULT"
    rm -f "$RESULT.errors"
    echo "$title: $([ "$code" -eq 0 ] && echo done || echo FAILED), $((SECONDS - began)) s"
}

machine='import os, platform, torch; cuda = torch.cuda.is_available(); print(
    torch.cuda.get_device_name() if cuda else platform.machine(), f"{os.cpu_count()} CPUs",
    f"torch {torch.__version__}", f"Python {platform.python_version()}", sep=", ")'
{
    printf '# gpu.sh, %s: %s, %s\n\n' "$(date +%F)" "$DEVICE" "$SIZE"
    "$PYTHON" -c "$machine"
    [ "$SIZE" != tiny ] || printf '\nSIZE=tiny: torch.compile is left out.\n'
} >"$RESULT"

case $SIZE in
full) sizes=(small base) clips=32 batch=64 recipe=paper steps=12 workers=(2 8) patience=1 quick=() few=() ;;
tiny) sizes=(tiny) clips=2 batch=2 recipe=tiny steps=2 workers=(1) patience=3 quick=(--quick)
    few=(--set training.batch_size=2) ;; # bfloat16 is slow on most CPUs
*) echo "SIZE: full or tiny, not $SIZE" >&2; exit 2 ;;
esac

if [ "$DEVICE" = cuda ]; then
    step "Tests marked gpu" 90 "$PYTHON" -m pytest -m gpu -q -p no:cacheprovider "$HERE/../tests/synthesis"
else # without a device they fail, and should: only that they are there
    step "Tests marked gpu, collected" 90 "$PYTHON" -m pytest -m gpu -q -p no:cacheprovider \
        --collect-only "$HERE/../tests/synthesis"
fi
step "Synthesis on the device" 60 "$PYTHON" "$HERE/synthesis.py" --device "$DEVICE" --batch "$batch" --quick
step "Forward and SAM step, bfloat16, torch.compile" 200 "$PYTHON" "$HERE/network.py" \
    --device "$DEVICE" --sizes "${sizes[@]}" --clips "$clips" "${quick[@]}"
step "Waiting for data" 120 "$PYTHON" "$HERE/training_step.py" "$STORE" --device "$DEVICE" \
    --recipe "$recipe" --set training.precision=bf16-mixed "${few[@]}" \
    --steps "$steps" --workers "${workers[@]}" --waiting-alone
echo "$RESULT"
exit "$failed"
