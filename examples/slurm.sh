#!/bin/bash
# Data parallel training on several nodes under SLURM: `sbatch examples/slurm.sh CONFIG [OPTIONS of mplframe run]`.
#
# One torchrun a node starts one process a GPU. Nodes share the run folder and the data's cache; only process 0 writes
# the folder. At SLURM's signal before the time limit, or when the job is preempted, the run saves a checkpoint (torchrun
# gives it 30 seconds) and ends. Submitted again, which SLURM does by itself after a preemption, it goes on from there,
# on another number of nodes too as long as the processes can share each micro-batch equally.
#SBATCH --job-name=mplframe
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

config=${1:?give a config file, such as examples/imagenet_10pct.yaml}
shift

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
gpus=${SLURM_GPUS_ON_NODE:-1}
export OMP_NUM_THREADS=$((${SLURM_CPUS_PER_TASK:-$gpus} / gpus))

srun --kill-on-bad-exit=1 torchrun \
  --nnodes="$SLURM_JOB_NUM_NODES" \
  --nproc-per-node="$gpus" \
  --rdzv-backend=c10d \
  --rdzv-endpoint="$first:$((20000 + SLURM_JOB_ID % 20000))" \
  --rdzv-id="$SLURM_JOB_ID" \
  --max-restarts=0 \
  -m mplframe run "$config" --set backend.name=ddp "$@"
