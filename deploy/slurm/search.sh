#!/bin/bash
# A search in one SLURM job: `sbatch deploy/slurm/search.sh`. Dask's scheduler and the search's owner
# run on the first node, one worker runs in each task. If the job is requeued, or submitted again after
# its time limit, the search continues where it ended.
#SBATCH --job-name=seqloom-search
#SBATCH --ntasks=8
#SBATCH --cpus-per-task=2
#SBATCH --mem-per-cpu=2G
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

# A directory that all nodes see; seqloom and dask are on PATH on every node.
shared=${SEARCHES:-$HOME/searches}
mkdir -p "$shared"
scheduler_file=$shared/scheduler-${SLURM_JOB_ID:?"start it with sbatch"}.json
rm -f "$scheduler_file" # left by an earlier start of this job
trap 'kill $(jobs -p) 2>/dev/null; rm -f "$scheduler_file"' EXIT

# Port 0 means any free port: two such jobs may share a node.
dask scheduler --scheduler-file "$scheduler_file" --port 0 --dashboard-address :0 --no-dashboard &
# A worker that dies must not end the others. srun does not inherit --cpus-per-task from sbatch.
srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=0 --wait=0 \
    dask worker --scheduler-file "$scheduler_file" --nthreads 1 --memory-limit 0 \
    --no-dashboard --local-directory "${TMPDIR:-/tmp}" &

seqloom tune sentiment --data synthetic:4000 --trials 100 --threads "${SLURM_CPUS_PER_TASK:-1}" \
    --cluster "$scheduler_file" --out "$shared/sentiment"
