#!/bin/bash
# An RL run under Slurm: trainers on the first two machines, a rollout server on the last one. NOT RUN: no cluster was
# at hand. Submit it from the checkout's root with:  sbatch docs/examples/slurm.sh recipe.yaml
#SBATCH --nodes=3
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@300
set -euo pipefail

recipe=$1
shared=/mnt/shared/$SLURM_JOB_ID        # a folder that all machines see
mkdir -p "$shared/weights"
UPHILL_SERVER_SECRET=$(.venv-gpu/bin/python -c 'import secrets; print(secrets.token_hex(32))')
export UPHILL_SERVER_SECRET             # srun hands it on; arguments would be visible to others

# The runner is on the first machine, and so must the first trainer be: the others find it there.
machines=($(scontrol show hostnames "$SLURM_JOB_NODELIST"))
server=${machines[2]}
uphill=(.venv-gpu/bin/uphill run "$recipe" --runs-dir "$shared/runs")

# The server needs a checkpoint of the model to start with; it gets the policy's weights before it samples.
"${uphill[@]}" --until base
checkpoint=$(echo "$shared"/runs/*/*-base/checkpoint)
srun --nodes=1 --ntasks=1 --nodelist="$server" --gpus=8 --exact \
  .venv-gpu/bin/python -m rollouts.served "$checkpoint" --host "$server" --port 8000 --tensor-parallel 8 &
serving=$!
trap 'kill "$serving" 2>/dev/null || true' EXIT

layout='runtime.stages.rl.devices'
launcher="[srun, --nodes=2, --ntasks=16, --ntasks-per-node=8, --exclude=$server, --exact, --kill-on-bad-exit=1]"
"${uphill[@]}" \
  --set "$layout.processes=16" \
  --set "$layout.sharding=fsdp2" \
  --set "$layout.precision=bfloat16" \
  --set "$layout.launcher=$launcher" \
  --set "$layout.engine={kind: remote, urls: ['http://$server:8000'], weights_dir: $shared/weights}" &
running=$!
trap 'kill -TERM "$running"' TERM       # the stage saves a checkpoint; submit the job again to go on
wait "$running" || wait "$running"
